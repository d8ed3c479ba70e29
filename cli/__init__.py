"""The `llmtrain` command: one module for each verb; they parse, call and print."""
