# The children of torchrun.
ranks() { cat /proc/"$child"/task/*/children; }
