//! The whole path with the real programs: signed by `sealift`, published and rolled out by `sealift-server`, installed by
//! `sealift-device`.

mod claim;
mod firmware;
mod kill;
mod programs;
mod rotation;
mod told;
