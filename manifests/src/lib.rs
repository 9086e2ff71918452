//! Sealift's wire format. Bytes to types and back, and no trust decision.
#![no_std]
