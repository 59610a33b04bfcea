//! The team of workers: the only place that names rayon.
