"""What a student inherits of its teacher's filters and layers: convolutional networks on speech or digits, compared."""
