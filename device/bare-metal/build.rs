//! Passes each program the linker script of its place on the board.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let target = std::env::var("TARGET").expect("cargo sets it");
    let board = if target.starts_with("thumb") { "mps2" } else { "virt" };
    println!("cargo:rustc-link-search={folder}/layout");
    println!("cargo:rustc-link-arg=-L{folder}/layout");
    for (program, place) in [("boot", "boot"), ("app", "app"), ("whole", "app"), ("measure", "boot")] {
        println!("cargo:rustc-link-arg-bin={program}=-T{board}-{place}.ld");
    }
    println!("cargo:rerun-if-changed=layout");
    println!("cargo:rerun-if-env-changed=SEALIFT_MEASURE");
}
