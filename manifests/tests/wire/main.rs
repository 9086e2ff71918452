//! The wire format from the outside: what it accepts, what it refuses and for which fault, held to the schema, to CBOR and
//! COSE libraries that are not ours, and to files that must never change.

mod bounds;
mod documents;
mod golden;
mod independent_cbor;
mod judge;
mod key_ids;
mod lists;
mod names;
mod python;
mod round_trip;
mod schema;
mod strictness;
mod tree;
mod values;
