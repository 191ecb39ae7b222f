//! gate_config_…, gate_directive, gate_issuer_…: the configuration while httpd reads
//! it. One thread; the handle is freed with httpd's configuration pool.

use super::cast::Castable;
use super::ffi::{self, gate_host, gate_place};
use super::host::{CRITICAL, ERROR, NOTICE, WARNING, remember, say};
use super::panic::boundary;
use super::text::{bytes, lossy, words};
use crate::audit::Log;
use crate::config::{Place, Server, Setting};
use crate::directive::{Builder, find};
use crate::policy::require::Rule;
use crate::state_dir::{self, RunUser};
use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One reading of the configuration, as C holds it.
pub(super) struct Handle {
    pub(super) host: gate_host,
    pub(super) builder: Builder,
    /// What C points to: the values of slots, and what was wrong.
    settings: Vec<Arc<Setting>>,
    texts: Vec<CString>,
    /// It has been read whole, and requests look at it: nothing is written any more.
    sealed: bool,
    state_dir: Option<CString>,
    /// The state directory's whole path.
    pub(super) state_path: PathBuf,
    audit_log: Option<CString>,
    /// The open audit log, and whether the parent failed to write into it.
    pub(super) audit: Option<(Arc<Log>, bool)>,
}

impl Handle {
    /// Keeps text for as long as the configuration lives.
    fn keep(&mut self, text: &str) -> *const c_char {
        self.texts
            .push(CString::new(text.replace('\0', " ")).unwrap_or_default());
        self.texts.last().map_or(std::ptr::null(), |it| it.as_ptr())
    }

    fn answer<T>(&mut self, result: Result<T, String>) -> *const c_char {
        match result {
            Ok(_) => std::ptr::null(),
            Err(wrong) => self.keep(&wrong),
        }
    }
}

pub(super) const PANICKED: *const c_char =
    c"mod_gitlab_gate failed while it read this line: please report it".as_ptr();

/// # Safety
/// `config` came from gate_config_new and nobody else uses it now.
pub(super) unsafe fn handle<'a>(config: *mut ffi::gate_config) -> Option<&'a mut Handle> {
    // SAFETY: the caller's promise.
    unsafe { Handle::borrow_mut(config) }
}

/// The configuration that is still being read; later on `AllowOverrideList` lets .htaccess files name any
/// directive, from many threads at once: the shim refuses them, and what it let through comes to nothing here.
///
/// # Safety
/// `config` came from gate_config_new; before the check nobody else uses it.
unsafe fn unfinished<'a>(config: *mut ffi::gate_config) -> Option<&'a mut Handle> {
    // SAFETY: the caller's promise. No reference that may be written through is made of a sealed one.
    unsafe {
        let sealed = Handle::borrow(config)?.sealed;
        if sealed { None } else { handle(config) }
    }
}

/// # Safety
/// `place` and its text are live.
unsafe fn place_of(place: *const gate_place) -> Option<Place> {
    // SAFETY: the caller's promise.
    unsafe {
        let place = place.as_ref()?;
        Some(Place {
            server: usize::try_from(place.server).ok()?,
            file: lossy(place.file).unwrap_or_default(),
            line: place.line,
            section: lossy(place.section),
            container: lossy(place.container),
            group: lossy(place.group),
            port: place.port != 0,
        })
    }
}

entry! {
    fn gate_config_new(host: *const gate_host) -> *mut ffi::gate_config {
        // SAFETY: gate.h: a live host.
        let Some(host) = (unsafe { host.as_ref() }) else {
            return std::ptr::null_mut();
        };
        remember(*host);
        super::panic::install_hook();
        let handle = Handle {
            host: *host,
            builder: Builder::default(),
            settings: Vec::new(),
            texts: Vec::new(),
            sealed: false,
            state_dir: None,
            state_path: PathBuf::new(),
            audit_log: None,
            audit: None,
        };
        handle.give()
    } else std::ptr::null_mut()
}

entry! {
    fn gate_config_free(config: *mut ffi::gate_config) {
        // SAFETY: made by gate_config_new, and freed once, by the pool's cleanup.
        drop(unsafe { Handle::take(config) });
    } else ()
}

entry! {
    fn gate_config_server(config: *mut ffi::gate_config, is_virtual: i32) -> i32 {
        // SAFETY: gate.h.
        let Some(handle) = (unsafe { unfinished(config) }) else {
            return -1;
        };
        let servers = &mut handle.builder.config.servers;
        servers.push(Server {
            is_virtual: is_virtual != 0,
            ..Server::default()
        });
        i32::try_from(servers.len() - 1).unwrap_or(-1)
    } else -1
}

entry! {
    fn gate_directive(
        config: *mut ffi::gate_config, place: *const gate_place, name: *const c_char, argc: i32, argv:
        *const *const c_char, slot: *mut *const ffi::gate_setting,
    ) -> *const c_char {
        // SAFETY: gate.h.
        let (handle, place, name, words) = unsafe {
            (
                unfinished(config),
                place_of(place),
                lossy(name),
                words(argc, argv),
            )
        };
        let (Some(handle), Some(place), Some(row)) =
            (handle, place, name.as_deref().and_then(find))
        else {
            return PANICKED;
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = handle
            .builder
            .directive(&place, row.name, &words)
            .map(|setting| {
                if let Some(setting) = setting {
                    let setting = Arc::new(setting);
                    // SAFETY: gate.h: `slot` is writable. What an Arc points to stays while the handle lives.
                    unsafe { *slot = Arc::as_ptr(&setting).cast() };
                    handle.settings.push(setting);
                }
            });
        handle.answer(result)
    } else PANICKED
}

entry! {
    fn gate_directive_slot(name: *const c_char) -> i32 {
        // SAFETY: gate.h.
        let name = unsafe { lossy(name) };
        name.as_deref()
            .and_then(find)
            .and_then(|row| row.slot)
            .map_or(-1, |slot| slot as i32)
    } else -2
}

entry! {
    fn gate_issuer_open(config: *mut ffi::gate_config, place: *const gate_place, name: *const c_char) -> *const c_char {
        // SAFETY: gate.h.
        let (handle, place, name) =
            unsafe { (unfinished(config), place_of(place), lossy(name)) };
        let (Some(handle), Some(place), Some(name)) = (handle, place, name) else {
            return PANICKED;
        };
        let result = handle.builder.open_issuer(&place, &name);
        handle.answer(result)
    } else PANICKED
}

entry! {
    fn gate_issuer_directive(
        config: *mut ffi::gate_config, place: *const gate_place, name: *const c_char, argc: i32, argv:
        *const *const c_char,
    ) -> *const c_char {
        // SAFETY: gate.h.
        let (handle, place, name, words) = unsafe {
            (
                unfinished(config),
                place_of(place),
                lossy(name),
                words(argc, argv),
            )
        };
        let (Some(handle), Some(place), Some(name)) = (handle, place, name) else {
            return PANICKED;
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = handle.builder.issuer_directive(place.line, &name, &words);
        handle.answer(result)
    } else PANICKED
}

entry! {
    fn gate_issuer_close(config: *mut ffi::gate_config, place: *const gate_place, line: *mut u32) -> *const c_char {
        // SAFETY: gate.h.
        let (handle, place) = unsafe { (unfinished(config), place_of(place)) };
        let (Some(handle), Some(place)) = (handle, place) else {
            return PANICKED;
        };
        let result = handle.builder.close_issuer(&place).map_err(|wrong| {
            // SAFETY: gate.h: `line` is writable.
            unsafe { *line = wrong.line.unwrap_or(0) };
            wrong.text
        });
        handle.answer(result)
    } else PANICKED
}

entry! {
    fn gate_note_rule(config: *mut ffi::gate_config, place: *const gate_place, rule: *const ffi::gate_rule) {
        // SAFETY: gate.h.
        let (handle, place, rule) = unsafe {
            (
                unfinished(config),
                place_of(place),
                Rule::borrow(rule),
            )
        };
        if let (Some(handle), Some(place), Some(rule)) = (handle, place, rule) {
            handle.builder.note_rule(&place, rule);
        }
    } else ()
}

entry! {
    fn gate_note(
        config: *mut ffi::gate_config, place: *const gate_place, directive: *const c_char, arguments: *const
        c_char,
    ) {
        // SAFETY: gate.h.
        let (handle, place, directive, arguments) = unsafe {
            (
                unfinished(config),
                place_of(place),
                lossy(directive),
                lossy(arguments),
            )
        };
        if let Some((((handle, place), directive), arguments)) =
            handle.zip(place).zip(directive).zip(arguments)
        {
            handle.builder.note(&place, &directive, &arguments);
        }
    } else ()
}

entry! {
    fn gate_config_check(config: *mut ffi::gate_config, has_authz: i32) -> i32 {
        // SAFETY: gate.h.
        let Some(handle) = (unsafe { handle(config) }) else {
            return 1;
        };
        handle.sealed = true;
        let mut found = handle.builder.check();
        if has_authz == 0 {
            found.errors.extend(handle.builder.without_authorization());
        }
        handle.state_dir = handle
            .builder
            .config
            .state_dir
            .clone()
            .and_then(|dir| CString::new(dir).ok());
        handle.audit_log = handle
            .builder
            .config
            .audit
            .log
            .clone()
            .and_then(|log| CString::new(log).ok());
        if let Some(board) = crate::sys::shared::board() {
            board.know(&handle.builder.config);
        }
        found
            .warnings
            .iter()
            .for_each(|warning| say(WARNING, warning));
        found.advice.iter().for_each(|advice| say(NOTICE, advice));
        found
            .errors
            .iter()
            .for_each(|error| say(ERROR, &format!("GATE200: {error}")));
        i32::try_from(found.errors.len()).unwrap_or(i32::MAX)
    } else 1
}

/// A text that lives as long as the configuration; NULL where there is none.
///
/// # Safety
/// A live configuration.
unsafe fn kept(
    entry: &'static str,
    fallback: *const c_char,
    config: *const ffi::gate_config,
    pick: impl FnOnce(&Handle) -> Option<&CStr>,
) -> *const c_char {
    boundary(
        entry,
        || fallback,
        || {
            // SAFETY: the caller's promise.
            let handle = unsafe { Handle::borrow(config) };
            handle.and_then(pick).map_or(std::ptr::null(), CStr::as_ptr)
        },
    )
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_config_state_dir(config: *const ffi::gate_config) -> *const c_char {
    // SAFETY: gate.h.
    unsafe {
        kept("gate_config_state_dir", std::ptr::null(), config, |it| {
            it.state_dir.as_deref()
        })
    }
}

entry! {
    fn gate_state_dir(config: *mut ffi::gate_config, path: *const c_char, user: u32, group: u32, make: i32) -> i32 {
        // SAFETY: gate.h: a live configuration that nobody else uses before the fork, and text or NULL.
        let (Some(handle), path) = (unsafe { (handle(config), bytes(path)) }) else {
            return 1;
        };
        let Some(path) = path.map(|it| Path::new(OsStr::from_bytes(it))) else {
            say(CRITICAL, "GATE306: GateStateDir: that is no path");
            return 1;
        };
        path.clone_into(&mut handle.state_path);
        let run = RunUser {
            user,
            group,
            is_root: crate::sys::file::user() == 0,
        };
        let done = if make == 0 {
            state_dir::check(path, run).map(|()| Vec::new())
        } else {
            state_dir::prepare(path, run)
        };
        match done {
            Ok(warnings) => {
                warnings.iter().for_each(|it| say(WARNING, &it.to_string()));
                0
            }
            Err(unfit) => {
                say(CRITICAL, &unfit.to_string());
                1
            }
        }
    } else 1
}

/// See gate.h.
///
/// # Safety
/// As gate.h says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gate_config_audit_log(config: *const ffi::gate_config) -> *const c_char {
    // SAFETY: gate.h.
    unsafe {
        kept("gate_config_audit_log", c"".as_ptr(), config, |it| {
            it.audit_log.as_deref()
        })
    }
}

entry! {
    fn gate_config_has_upstream(config: *const ffi::gate_config) -> i32 {
        // SAFETY: gate.h.
        let handle = unsafe { Handle::borrow(config) };
        i32::from(handle.is_none_or(|it| it.builder.config.adds_to_upstream()))
    } else 1
}

as_declared! {
    gate_config_audit_log
    gate_config_state_dir
}
