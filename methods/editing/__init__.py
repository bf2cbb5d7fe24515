"""What the methods that edit a given face share: settings, critic, losses, and how the two nets are trained.
No method of its own.
"""
