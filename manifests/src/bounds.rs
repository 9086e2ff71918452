//! Every bound of the wire format, each with the reason for its value.

/// Most bytes of a role's signed payload. A KMS that signs raw Ed25519 messages takes at most 4,096 bytes; what is signed
/// is the payload and a prefix of 23 bytes, and the rest is room for a host encoding of the same facts.
pub const MAX_PAYLOAD: usize = 3_584;

/// Most signatures on one file: a root that rotates all keys is signed by every old and every new key of its role.
pub const MAX_SIGNATURES: usize = 2 * MAX_ROLE_KEYS;

/// Bytes of one encoded signature: array head, protected header, key id, signature.
pub const SIGNATURE_LEN: usize = 107;

/// Bytes of an envelope around payload and signatures at their largest: tag, array head, two empty headers, payload head,
/// signature array head.
pub const ENVELOPE_OVERHEAD: usize = 2 + 1 + 2 + 3 + 1;

/// Most bytes of one role file, signatures included. No device buffer for metadata needs to be larger.
pub const MAX_ENVELOPE: usize = ENVELOPE_OVERHEAD + MAX_PAYLOAD + MAX_SIGNATURES * SIGNATURE_LEN;

/// Most keys of one role or delegation: more officers than a ceremony can gather, and 256 bytes of key ids in a floor.
pub const MAX_ROLE_KEYS: usize = 8;

/// Most keys listed in one root or one targets file: 32 keys are 1.3 KiB of payload, a third of what may be signed.
pub const MAX_KEYS: usize = 32;

/// Most delegations of one targets file, and so most delegated roles of one repository.
pub const MAX_DELEGATIONS: usize = 32;

/// Most product ids of one delegation.
pub const MAX_PRODUCTS: usize = 16;

/// Most targets of one file: releases of a product that are being rolled out at the same time.
pub const MAX_TARGETS: usize = 16;

/// Most hardware ids of one target.
pub const MAX_HARDWARE: usize = 16;

/// Most payloads of one target: the full image, once or twice compressed, and deltas from that many former releases.
pub const MAX_PAYLOADS: usize = 16;

/// Most extensions of one kind on one role or target.
pub const MAX_EXTENSIONS: usize = 8;

/// Most bytes of a name (product, component, hardware, role): fits AWS's limit for a thing-group name with a prefix.
pub const MAX_NAME: usize = 64;

/// Most bytes of one extension's value: enough for a digest and a signature.
pub const MAX_EXTENSION_VALUE: usize = 256;

/// Most bytes of an image: 4 GiB less one, so that every offset fits a device's 32-bit address.
pub const MAX_IMAGE: u64 = u32::MAX as u64;

/// Most root updates in one bundle. It bounds one session's work, not its reach: each accepted root is persisted, and the
/// device goes on from there in its next session.
pub const MAX_BUNDLE_ROOTS: usize = 8;

/// Most bytes of an update bundle: that many roots, a timestamp, a snapshot, top-level and delegated targets.
pub const MAX_BUNDLE: usize = (MAX_BUNDLE_ROOTS + 4) * MAX_ENVELOPE;
