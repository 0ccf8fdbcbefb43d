# SPDX-License-Identifier: MIT
#
# A bucket for terraform's states, of which `tfq doctor` has nothing to say.

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

provider "aws" {
  region = var.region
}

locals {
  log_bucket = coalesce(var.log_bucket, "${var.bucket}-logs")
  lock_size  = 4096 # bytes; a lock has fewer
  # Both buckets are closed alike.
  buckets = {
    state = aws_s3_bucket.state
    logs  = aws_s3_bucket.logs
  }
}

# --- the bucket of the states ---

resource "aws_s3_bucket" "state" {
  bucket = var.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_logging" "state" {
  bucket        = aws_s3_bucket.state.id
  target_bucket = aws_s3_bucket.logs.id
  target_prefix = "s3/${var.bucket}/"

  depends_on = [aws_s3_bucket_policy.closed] # the log service may write only then
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  # A filter knows no suffix, and terraform tags nothing that it writes. So locks are told from
  # states by their size; of small states the newest 20 versions stay, too.
  rule {
    id     = "old-locks"
    status = "Enabled"

    filter {
      object_size_less_than = local.lock_size
    }

    noncurrent_version_expiration {
      noncurrent_days           = var.keep_lock_versions
      newer_noncurrent_versions = 20
    }
  }

  rule {
    id     = "old-states"
    status = "Enabled"

    filter {
      object_size_greater_than = local.lock_size - 1
    }

    noncurrent_version_expiration {
      noncurrent_days           = var.keep_state_versions
      newer_noncurrent_versions = 20
    }
  }

  rule {
    id     = "leftovers"
    status = "Enabled"

    filter {}

    expiration {
      expired_object_delete_marker = true
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.state]
}

# --- the bucket of its access log ---

resource "aws_s3_bucket" "logs" {
  bucket = local.log_bucket
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id

  rule {
    id     = "old-logs"
    status = "Enabled"

    filter {}

    expiration {
      days = var.keep_logs
    }
  }
}

# --- both ---

resource "aws_s3_bucket_server_side_encryption_configuration" "closed" {
  for_each = local.buckets
  bucket   = each.value.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "closed" {
  for_each = local.buckets
  bucket   = each.value.id

  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "closed" {
  for_each = local.buckets
  bucket   = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

data "aws_iam_policy_document" "closed" {
  for_each = local.buckets

  statement {
    sid       = "OnlyByTLS"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = each.key == "logs" ? [1] : []

    content {
      sid       = "AccessLog"
      actions   = ["s3:PutObject"]
      resources = ["${each.value.arn}/s3/${var.bucket}/*"]

      principals {
        type        = "Service"
        identifiers = ["logging.s3.amazonaws.com"]
      }

      condition {
        test     = "ArnLike"
        variable = "aws:SourceArn"
        values   = [aws_s3_bucket.state.arn]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "closed" {
  for_each = local.buckets
  bucket   = each.value.id
  policy   = data.aws_iam_policy_document.closed[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.closed] # one at a time, or S3 says 409
}

# --- the lock of a terraform before 1.11 ---

resource "aws_dynamodb_table" "locks" {
  count = var.terraform_before_1_11 ? 1 : 0

  name         = var.table
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "LockID"

  attribute {
    name = "LockID"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }
}
