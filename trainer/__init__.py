"""The reference trainer, on megatron-core and DeepSpeed."""
