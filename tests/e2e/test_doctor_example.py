#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""conf/examples/backend: is it good Terraform, and is what it makes what tfq doctor calls good?

The AWS provider is taken from a filesystem mirror below /opt, if there is one; it is not downloaded.
"""
import glob
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import ROOT, TERRAFORM, Skip, World, case, contains, main, ran, same  # noqa: E402
from moto import Moto  # noqa: E402

EXAMPLE = os.path.join(ROOT, "conf", "examples", "backend")
PROVIDER = "registry.terraform.io/hashicorp/aws"

# The other server has no TLS, and knows neither lifecycle filters by size nor recovery of tables; all else is as it
# stands there.
OVERRIDE = """\
provider "aws" {{
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
  s3_use_path_style           = true

  endpoints {{
    s3       = "{url}"
    dynamodb = "{url}"
    sts      = "{url}"
  }}
}}

resource "aws_s3_bucket_policy" "closed" {{
  for_each = {{ logs = aws_s3_bucket.logs }}
}}

resource "aws_s3_bucket_lifecycle_configuration" "state" {{
  count = 0
}}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {{
  count = 0
}}

resource "aws_dynamodb_table" "locks" {{
  point_in_time_recovery {{
    enabled = false
  }}
}}
"""


def mirror():
    found = [path[:-len(PROVIDER) - 1] for path in glob.glob(f"/opt/*/{PROVIDER}")]
    if not found:
        raise Skip("there is no mirror with hashicorp/aws below /opt")
    return found[0]


def example(world, override=""):
    """A copy of it, initialised; and the variables that terraform needs."""
    folder = os.path.join(world.path, "example")
    config = os.path.join(world.path, "terraform.rc")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror()}"\n  }}\n}}\n')
    shutil.copytree(EXAMPLE, folder)
    if override:
        with open(os.path.join(folder, "here_override.tf"), "w", encoding="utf-8") as file:
            file.write(override)
    env = {"TF_CLI_CONFIG_FILE": config}
    ran(world.run(TERRAFORM, "init", "-input=false", "-no-color", cwd=folder, env=env))
    return folder, env


@case("the example is formatted")
def formatted():
    with World(daemon=False) as world:
        result = world.run(TERRAFORM, "fmt", "-check", "-recursive", "-diff", EXAMPLE)
        same((result.code, result.out), (0, ""), "terraform fmt")


@case("the example is valid")
def valid():
    with World(daemon=False) as world:
        folder, env = example(world)
        contains(ran(world.run(TERRAFORM, "validate", "-no-color", cwd=folder, env=env)).out, "The configuration is valid")


def doctor(world, name, code=0, **mode):
    work = world.directory(name, bucket="states", init="by hand", **mode)
    work.change_backend(bucket="states")
    result = work.tfq("doctor", "--probe")
    same(result.code, code, f"the exit code ({result.out}{result.err})")
    return result.out


@case("what the example makes, tfq doctor finds clean; and not so once it is spoilt", 300)
def applied():
    with Moto() as moto, World(url=moto.url) as world:
        folder, env = example(world, OVERRIDE.format(url=moto.url))
        argv = ["-input=false", "-no-color", "-var=bucket=states", "-var=region=us-east-1",
                "-var=terraform_before_1_11=true"]
        ran(world.run(TERRAFORM, "apply", "-auto-approve", *argv, cwd=folder, env=env, seconds=120))
        same(world.run(TERRAFORM, "plan", "-detailed-exitcode", *argv, cwd=folder, env=env, seconds=120).code, 0,
             "the exit code of a second plan")
        contains(doctor(world, "new"), "nothing is wrong")
        out = doctor(world, "both", 1, mode="both", key="both/terraform.tfstate")
        contains(out, "Both a lock file and the table", "1 warning")

        ran(world.run(TERRAFORM, "destroy", "-auto-approve", "-target=aws_s3_bucket_versioning.state",
                      "-target=aws_s3_bucket_public_access_block.closed", *argv, cwd=folder, env=env, seconds=120))
        contains(doctor(world, "spoilt", 2, key="spoilt/terraform.tfstate"), "keeps no old versions",
                 "does not block public access")


main()
