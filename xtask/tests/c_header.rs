//! The C header is what cbindgen makes of `device/capi`.
//!
//! `SEALIFT_WRITE=1 cargo test -p xtask --test c_header` writes it anew.

use std::{fs, path::Path};

#[test]
fn the_checked_in_header_is_what_the_source_says() {
    let capi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../device/capi");
    let config = cbindgen::Config::from_file(capi.join("cbindgen.toml")).expect("the settings are good");
    let sources = ["flash.rs", "device.rs", "update.rs"].map(|file| capi.join("src").join(file));
    let builder =
        sources.iter().fold(cbindgen::Builder::new().with_config(config), |builder, file| builder.with_src(file));
    let mut made = Vec::new();
    builder.generate().expect("the source can be read").write(&mut made);
    let header = capi.join("include/sealift.h");
    if std::env::var_os("SEALIFT_WRITE").is_some() {
        fs::create_dir_all(header.parent().expect("a folder")).expect("the folder is made");
        fs::write(&header, &made).expect("the header is written");
    }
    let checked_in = fs::read(&header).expect("the header is there");
    assert!(checked_in == made, "sealift.h is out of date: see this file's text");
}
