"""Text to tokens: `llmtrain data prepare`, and Megatron's .bin/.idx format without its stack."""
