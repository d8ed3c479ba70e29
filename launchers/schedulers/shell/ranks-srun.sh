ranks() { echo "$child"; }
