# SPDX-License-Identifier: MIT

output "backend" {
  description = "What a configuration whose state is to be kept there says; the key is its own."
  value       = <<-EOT
    terraform {
      backend "s3" {
        bucket  = "${aws_s3_bucket.state.id}"
        key     = "NAME/ENVIRONMENT/terraform.tfstate"
        region  = "${var.region}"
        encrypt = true
        ${var.terraform_before_1_11 ? "dynamodb_table = \"${var.table}\"" : "use_lockfile = true"}
      }
    }
  EOT
}

output "policy" {
  description = "What who runs terraform needs, as a JSON policy; for one state put its key in place of the *."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Effect = "Allow"
        Action = [
          "s3:ListBucket", "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration",
          "s3:GetBucketPublicAccessBlock", "s3:GetBucketLogging",
        ]
        Resource = aws_s3_bucket.state.arn
      },
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "${aws_s3_bucket.state.arn}/*"
      },
      ], [
      for table in aws_dynamodb_table.locks : {
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"]
        Resource = table.arn
      }
    ])
  })
}
