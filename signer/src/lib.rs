//! The signing side of Sealift.
