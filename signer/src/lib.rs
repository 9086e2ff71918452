//! The signing side of Sealift.

pub mod delta;
