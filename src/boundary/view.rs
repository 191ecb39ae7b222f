//! A request of httpd's, seen through borrowed views: its fields, the settings of its section, and what
//! must go out of it. Who asks, and what is answered, is in the other files here.

use super::cast::Castable;
use super::ffi::{self, gate_chain, gate_edit, gate_field, gate_request};
use super::text::{Pool, bytes, slice};
use crate::config::{Accept, HeaderChoice, Setting};
use crate::directive::Slot;
use crate::gate::Section;
use crate::grant::Grant;
use crate::identity::Identity;
use crate::request::{FieldName, Fields, Found, Target};
use crate::token::source::{Names, Source};
use crate::token::take::Take;
use crate::token::unread::unread;
use std::ffi::c_char;

const BEARER: &[Source] = &[Source::Bearer];
const PROXY: &[Source] = &[Source::Proxy];

/// httpd's table, read in place; the client's own, as it was before the gate took something out, comes first.
pub(super) struct Table<'r> {
    client: &'r [gate_field],
    pub(super) fields: &'r [gate_field],
}

impl<'r> Fields<'r> for Table<'r> {
    fn find(&self, name: &FieldName) -> Found<'r> {
        match find(self.client, name) {
            Found::None => find(self.fields, name),
            found => found,
        }
    }
}

fn find<'r>(fields: &'r [gate_field], name: &FieldName) -> Found<'r> {
    let mut found = Found::None;
    for field in fields.iter().filter(|it| it.checksum == name.checksum()) {
        // SAFETY: apr_tables.c keeps both texts NUL-terminated; they live as long as the request.
        let (Some(key), Some(value)) = (unsafe { (bytes(field.name), bytes(field.value)) }) else {
            continue;
        };
        if name.is(key) {
            if found != Found::None {
                return Found::Many;
            }
            found = Found::One(value);
        }
    }
    found
}

// C keeps a slot for each setting.
const _: () = assert!(Slot::COUNT == ffi::GATE_SLOTS as usize);

/// A request and the section it fell into.
pub(super) struct View<'r> {
    pub(super) raw: &'r gate_request,
    pub(super) pool: Pool,
}

impl<'r> View<'r> {
    /// A view for the length of the call.
    pub(super) fn new(raw: &'r gate_request) -> Option<Self> {
        super::host::pool(raw.pool).map(|pool| Self { raw, pool })
    }

    pub(super) const fn pool(&self) -> Pool {
        self.pool
    }

    pub(super) fn setting(&self, slot: Slot) -> Option<&'r Setting> {
        // SAFETY: gate.h: GATE_SLOTS pointers, each NULL or a Setting that the configuration owns,
        // which outlives every request.
        unsafe {
            let slots = slice(self.raw.slots, Slot::COUNT);
            slots.get(slot as usize)?.cast::<Setting>().as_ref()
        }
    }

    pub(super) fn handler(&self) -> &'r [u8] {
        // SAFETY: gate.h: live text or NULL.
        unsafe { bytes(self.raw.handler) }.unwrap_or_default()
    }

    pub(super) fn token(&self) -> Option<&'r [u8]> {
        // SAFETY: gate.h: live text or NULL.
        unsafe { bytes(self.raw.token) }
    }

    pub(super) fn sources(&self) -> &'r [Source] {
        match self.setting(Slot::TokenFrom) {
            // A forward proxy's client keeps Authorization for the server that it asks for (RFC 9110, section 11.7).
            _ if self.raw.port != 0 || self.raw.connect != 0 => PROXY,
            Some(Setting::TokenFrom(sources)) => sources,
            _ => BEARER,
        }
    }

    pub(super) fn section(&self) -> Section<'r> {
        let accept: Option<&Accept> = match self.setting(Slot::Accept) {
            Some(Setting::Accept(accept)) => Some(accept),
            _ => None,
        };
        Section {
            server: usize::try_from(self.raw.server).unwrap_or(usize::MAX),
            accept,
            sources: self.sources(),
            forward_token: matches!(
                self.setting(Slot::ForwardToken),
                Some(Setting::ForwardToken(true))
            ),
        }
    }

    /// The GateHeader lines in force, inner section first.
    pub(super) fn chosen_headers(&self) -> Vec<&'r HeaderChoice> {
        let mut chosen = Vec::new();
        let mut link: *const gate_chain = self.raw.headers;
        // SAFETY: gate.h: a list that ends in NULL; its values as in `setting`.
        while let Some(it) = unsafe { link.as_ref() } {
            // SAFETY: as above.
            if let Some(Setting::Header(choice)) = unsafe { Setting::borrow(it.own) } {
                chosen.push(choice);
            }
            link = it.outer;
        }
        chosen
    }

    pub(super) fn table(&self) -> Table<'r> {
        // SAFETY: gate.h: live arrays of these lengths.
        unsafe {
            Table {
                client: slice(self.raw.client, self.raw.client_count),
                fields: slice(self.raw.fields, self.raw.field_count),
            }
        }
    }

    /// The target, where a token may be in it: most places read none from the query, and then
    /// nobody looks at the rest.
    pub(super) fn token_target(&self) -> Target<'r> {
        let reads_query = |it: &Source| matches!(it, Source::Query(_));
        if self.sources().iter().any(reads_query) {
            self.target()
        } else {
            Target::default()
        }
    }

    /// Credentials of the request that no source looks at; what they are is not shown.
    pub(super) fn unread(&self) -> Option<String> {
        let proxied = self.raw.port != 0 || self.raw.connect != 0;
        // SAFETY: gate.h: live text or NULL.
        let args = unsafe { bytes(self.raw.args) };
        unread(self.sources(), &Names::new()?, &self.table(), args, proxied)
    }

    pub(super) fn target(&self) -> Target<'r> {
        let query = FieldName::client_query();
        // SAFETY: gate.h: live text or NULL.
        unsafe {
            Target {
                args: bytes(self.raw.args),
                unparsed_uri: bytes(self.raw.unparsed_uri).unwrap_or_default(),
                the_request: bytes(self.raw.the_request).unwrap_or_default(),
                filename: bytes(self.raw.filename).unwrap_or_default(),
                client_args: match find(self.table().client, &query) {
                    Found::One(args) => Some(args),
                    Found::None | Found::Many => None,
                },
            }
        }
    }

    pub(super) fn edits(&self, take: &[Take<'_>]) -> Vec<gate_edit> {
        let edit = |kind: u32, name: *const c_char, value: Option<&[u8]>| gate_edit {
            kind: kind.cast_signed(),
            name,
            value: value.map_or(std::ptr::null(), |it| self.pool.text(it)),
        };
        let mut edits = Vec::with_capacity(take.len() * 4);
        for it in take {
            match it {
                Take::Header(name) => edits.push(edit(
                    ffi::GATE_EDIT_HEADER,
                    self.pool.text(name.as_bytes()),
                    None,
                )),
                Take::Cookies(kept) => edits.push(edit(
                    ffi::GATE_EDIT_HEADER,
                    c"Cookie".as_ptr(),
                    kept.as_deref(),
                )),
                Take::Query {
                    args,
                    unparsed_uri,
                    the_request,
                    filename,
                    forward,
                } => {
                    if !forward {
                        edits.push(edit(ffi::GATE_EDIT_ARGS, std::ptr::null(), args.as_deref()));
                    }
                    for (kind, text) in [
                        (ffi::GATE_EDIT_UNPARSED_URI, unparsed_uri),
                        (ffi::GATE_EDIT_THE_REQUEST, the_request),
                        (ffi::GATE_EDIT_FILENAME, filename),
                    ] {
                        if let Some(text) = text {
                            edits.push(edit(kind, std::ptr::null(), Some(text)));
                        }
                    }
                }
            }
        }
        edits
    }
}

/// # Safety
/// NULL, or an identity that gate_decide gave and nobody has released.
pub(super) unsafe fn identity_of<'i>(identity: *const ffi::gate_identity) -> Option<&'i Identity> {
    // SAFETY: the caller's promise.
    unsafe { grant_of(identity) }.map(Grant::identity)
}

/// # Safety
/// As [`identity_of`].
pub(super) unsafe fn grant_of<'i>(identity: *const ffi::gate_identity) -> Option<&'i Grant> {
    // SAFETY: the caller's promise.
    unsafe { Grant::borrow(identity) }
}
