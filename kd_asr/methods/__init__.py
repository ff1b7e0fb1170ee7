"""Published methods: each plans the trainings that it needs and the systems that are compared."""
