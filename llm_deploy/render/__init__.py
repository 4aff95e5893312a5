"""Resource lists as documents that other tools deploy. Pure: nothing is asked of a cloud."""
