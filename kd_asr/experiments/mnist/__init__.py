"""The digits of Hinton, Vinyals and Dean (2015, sections 3 and 5): the first table and the odd experiments."""
