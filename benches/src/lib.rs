//! What an operation costs, beside upstream's figures.
