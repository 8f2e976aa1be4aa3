//! Services, pod routes and cluster DNS on a node.
