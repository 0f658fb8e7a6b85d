"""The services of the shop, one module each; ``SERVICES`` says which class answers to which name."""
