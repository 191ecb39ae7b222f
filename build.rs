//! Two jobs: the Rust side of c_shim/gate.h (bindgen), and c_shim/*.c with the flags that apxs
//! gives (cc). Linking the DSO is apxs/build's.
#![allow(clippy::expect_used)] // a build that can't go on says why and stops

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=c_shim");
    println!("cargo:rerun-if-env-changed=APXS");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings(&out);
    match apxs() {
        Some(apxs) => shim(&apxs, &out),
        None => println!(
            "cargo:warning=apxs not found: the C shim is not built (apt-get install apache2-dev)"
        ),
    }
}

fn bindings(out: &Path) {
    bindgen::Builder::default()
        .header("c_shim/gate.h")
        .allowlist_type("gate_.*")
        .allowlist_function("gate_.*")
        .allowlist_var("GATE_.*")
        .prepend_enum_name(false)
        .derive_default(true)
        .layout_tests(true)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()
        .expect("bindgen reads c_shim/gate.h")
        .write_to_file(out.join("gate.rs"))
        .expect("OUT_DIR can be written");
}

fn apxs() -> Option<String> {
    let named = env::var("APXS").ok();
    named
        .into_iter()
        .chain(["apxs".into(), "/usr/bin/apxs".into(), "apxs2".into()])
        .find(|apxs| query(apxs, &["-q", "INCLUDEDIR"]).is_some())
}

fn query(program: &str, arguments: &[&str]) -> Option<String> {
    let answer = Command::new(program).args(arguments).output().ok()?;
    answer
        .status
        .success()
        .then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

fn shim(apxs: &str, out: &Path) {
    let mut build = cc::Build::new();
    for entry in fs::read_dir("c_shim").expect("c_shim is there").flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "c") {
            build.file(entry.path());
        }
    }
    let apr = query(apxs, &["-q", "APR_CONFIG"])
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| "apr-1-config".into());
    let flags = query(&apr, &["--cppflags", "--includes"]).unwrap_or_default();
    for flag in flags.split_whitespace() {
        build.flag(flag);
    }
    if let Some(include) = query(apxs, &["-q", "INCLUDEDIR"]) {
        build.include(include);
    }
    // cargo may not link it: the rlib and the tests know no httpd.
    build
        .cargo_metadata(false)
        .pic(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .compile("gate_shim");
    // target/<profile>/build/<package>/out: three up is where apxs/build looks.
    if let Some(profile) = out.ancestors().nth(3) {
        fs::copy(out.join("libgate_shim.a"), profile.join("libgate_shim.a"))
            .expect("the target folder can be written");
    }
}
