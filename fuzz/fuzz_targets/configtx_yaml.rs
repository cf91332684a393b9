//! `configtx.yaml`: nothing panics, and a profile that can be completed gives a tree or a named refusal.
#![no_main]

use std::path::Path;

use fabric_channel::genesis::TopLevel;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(file) = TopLevel::from_yaml(text, &|_| None) else { return };
    for name in file.profiles.keys() {
        if let Ok(profile) = file.profile(name, Path::new("/nowhere")) {
            let _ = profile.check_for_genesis();
            let _ = profile.channel_group();
        }
    }
});
