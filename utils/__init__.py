"""The shared module: each file is a room with a name; see the README's section 'How it works'."""
