"""Soft targets as regularisers where few labels are left (Hinton, Vinyals and Dean 2015, section 6), on speech."""
