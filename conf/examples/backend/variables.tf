# SPDX-License-Identifier: MIT

variable "bucket" {
  description = "Name of the bucket for states and their locks. Buckets of all the world share one set of names."
  type        = string
}

variable "log_bucket" {
  description = "Name of the bucket for the access log; null: the first one's, with -logs behind it."
  type        = string
  default     = null
}

variable "region" {
  description = "Where both are, and the table."
  type        = string
}

variable "terraform_before_1_11" {
  description = "Does anybody who works on these states have a terraform before 1.11? Then there is a lock table, too."
  type        = bool
  default     = false
}

variable "table" {
  description = "Name of the lock table, if there is one."
  type        = string
  default     = "tflocks"
}

variable "keep_lock_versions" {
  description = "Days for which old versions of lock files are kept, but for the newest 20. Each renewal of a lock leaves one."
  type        = number
  default     = 7
}

variable "keep_state_versions" {
  description = "Days for which old versions of states are kept, but for the newest 20, which stay."
  type        = number
  default     = 365
}

variable "keep_logs" {
  description = "Days for which the access log is kept."
  type        = number
  default     = 365
}
