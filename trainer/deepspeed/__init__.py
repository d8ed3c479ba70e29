"""DeepSpeed's engine around megatron-core's layers."""
