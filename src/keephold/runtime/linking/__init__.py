"""Links the guest's many core modules into one, when it is built."""
