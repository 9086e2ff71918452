//! A RAM class's promise: the whole decoder, counted in full, and the stack it runs on fit the class.

use sealift_verifier::delta::{Decoder16K, Decoder24K, Decoder64K, HostDecoder, RamClass};

/// Stack that a push may take on a device, on top of the decoder itself, down to where it calls base or slot: 688 bytes of its own, 152
/// of the function below it that goes deepest (`fse::build`) and 48 of the memory functions that it calls, by a disassembly of
/// `device/bare-metal`'s program `whole` for Cortex-M3 at opt z.
const STACK: usize = 888;

#[test]
fn each_class_holds_its_decoder_and_the_stack_it_runs_on() {
    for (class, size) in [
        (RamClass::Ram16K, Decoder16K::RAM),
        (RamClass::Ram24K, Decoder24K::RAM),
        (RamClass::Ram64K, Decoder64K::RAM),
        (RamClass::Host, HostDecoder::RAM),
    ] {
        let most = class.bytes() as usize;
        println!("{}: {size} of {most} bytes", class.name());
        assert!(size + STACK <= most, "{}: {size} bytes and {STACK} of stack do not fit {most}", class.name());
    }
}
