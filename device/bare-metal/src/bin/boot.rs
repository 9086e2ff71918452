//! The bootloader: decides which slot runs, copies it to where it runs, checks the copy, and starts it.
#![no_std]
#![no_main]

use sealift_bare_metal::{board, console, device, flash::SLOT, handover::Handover};
use sealift_manifests::sha256;
use sealift_verifier::Error;
use sealift_verifier::image::SlotReader;

/// Half the time that an image on trial has to confirm itself, in seconds.
const TRIAL: u32 = 2;

/// Entered from the reset handler with `.data` and `.bss` in place.
#[unsafe(no_mangle)]
extern "C" fn sealift_main() -> ! {
    board::uart_start();
    match boot() {
        Ok(handover) => {
            handover.leave();
            board::run()
        }
        Err(error) => {
            console::error("boot: nothing runs", error);
            // A device in the field would wait for its factory tool here.
            loop {
                core::hint::spin_loop();
            }
        }
    }
}

fn boot() -> Result<Handover, Error> {
    let identity = device::identity()?;
    let store = device::store()?;
    let mut slots = device::slots();
    let mut scratch = [0; device::SCRATCH];
    let booted = store.control().boot(&identity, &mut slots, &mut scratch)?;
    console::text("boot: slot ");
    console::text(booted.slot.name());
    console::text(" holds ");
    console::version(booted.target.version);
    console::line(if booted.trial { ", on trial" } else { "" });
    // What runs is the copy, so the copy is what is checked.
    let length = booted.target.image.length as usize;
    // SAFETY: this memory is the application's; none runs now.
    let run = unsafe { core::slice::from_raw_parts_mut(board::RUN as *mut u8, SLOT) };
    let run = run.get_mut(..length).ok_or(Error::SlotTooSmall)?;
    SlotReader::new(slots.of(booted.slot)).read_at(0, run)?;
    if sha256(run) != booted.target.image.digest {
        return Err(Error::ImageHash);
    }
    if booted.trial {
        board::watchdog_start(TRIAL);
    }
    Ok(Handover { slot: booted.slot, trial: booted.trial })
}
