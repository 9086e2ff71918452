//! An independent, slow verifier: what a device must accept, written from `schema.cddl`, the text of The Update Framework
//! 1.0.34 (section 5) and the design's rules on floors, over serde_cbor and bare curve arithmetic. It shares no code with
//! the verifier it judges. It tells accepted from refused, not why.

pub mod cbor;
pub mod client;
pub mod ed25519;
pub mod schema;
