//! The keys of `keys-example/`, which everybody has: signer, server and verifier refuse them outside development.

use crate::key::KeyId;

/// Key ids of every key in `keys-example/`; a test holds the list to the folder.
pub const EXAMPLE_KEY_IDS: &[KeyId] = &[];

/// Whether `id` is a key that everybody has.
pub fn is_example(id: &KeyId) -> bool {
    EXAMPLE_KEY_IDS.contains(id)
}
