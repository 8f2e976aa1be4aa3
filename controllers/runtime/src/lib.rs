//! Reflectors, views and the plan shell that controllers stand on.
