"""The experiments on digits of Hinton, Vinyals and Dean (2015, section 3), and more on the same digits."""
