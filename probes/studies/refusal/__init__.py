"""Which direction makes a model refuse, and whether its base model has it too."""
