//! Keys that never leave where they are: on a PKCS#11 token (SoftHSM, from Debian) and in AWS KMS (the emulator ministack,
//! whose Ed25519 keys sign truly; nothing here was tried against AWS itself).
//!
//! Needs the cargo features `pkcs11` and `aws-kms`: `cargo xtask test --only key_sources`.
#![cfg(all(feature = "pkcs11", feature = "aws-kms"))]

#[path = "key_sources/kms.rs"]
mod kms;
#[path = "key_sources/ministack.rs"]
mod ministack;
mod support;
#[path = "key_sources/tokens.rs"]
mod tokens;
