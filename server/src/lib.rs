//! The publishing side of Sealift. It holds no signing key.
