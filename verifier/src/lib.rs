//! Sealift's verifier: sans-IO, no allocator, no panic.
#![no_std]
