//! A replicated, watchable, multi-version store on openraft and sled.
