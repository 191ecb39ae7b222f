//! A configuration as a private httpd may have it: one port of loopback, files of its own, no logs of
//! the real server's, and of the virtual hosts those that would answer.

use crate::hosts::Host;
use crate::lines::Line;
use std::path::Path;

/// What the private httpd has of its own.
pub struct Private<'a> {
    /// The one port it listens on.
    pub port: u16,
    /// Its files.
    pub dir: &'a Path,
    /// Where the question is asked.
    pub handler: String,
}

/// Directives that would touch what belongs to the real server.
const DROPPED: &[&str] = &[
    "listen",
    "listenbacklog",
    "pidfile",
    "errorlog",
    "customlog",
    "transferlog",
    "globallog",
    "forensiclog",
    "scriptsock",
    "scriptlog",
    "defaultruntimedir",
    "mutex",
    "scoreboardfile",
    "coredumpdirectory",
    "gatestatedir",
    "gateauditlog",
    "gateauditchainkey",
    "gateauditrequired",
    "sslengine",
    "startservers",
    "extendedstatus",
    "rewritelog",
    "dumpioinput",
    "dumpiooutput",
];

/// The text.
pub fn rewrite(lines: &[Line], hosts: &[&Host], private: &Private<'_>) -> String {
    let dir = private.dir.display();
    // The last of the sections that hold for its path. A virtual host's come after the main server's.
    let place = format!(
        "<Location \"{}\">\n    AuthType None\n    AuthMerging Off\n    Require all granted\n    \
         SetHandler gate-explain\n</Location>\n",
        private.handler
    );
    let mut text = String::new();
    let mut inside = false;
    for (at, line) in lines.iter().enumerate() {
        let name = line.name.as_str();
        inside |= name == "<virtualhost";
        if !inside || hosts.iter().any(|it| it.lines.contains(&at)) {
            match name {
                "<virtualhost" => text += &format!("<VirtualHost *:{}>\n", private.port),
                "</virtualhost" => text += &format!("{place}</VirtualHost>\n"),
                _ if DROPPED.contains(&name) => {}
                _ => {
                    text += &line.text;
                    text.push('\n');
                }
            }
        }
        inside &= name != "</virtualhost";
    }
    text += &format!(
        "Listen 127.0.0.1:{}\nDefaultRuntimeDir \"{dir}\"\nPidFile \"{dir}/httpd.pid\"\nErrorLog \"{dir}/error.log\"\n\
         GateStateDir \"{dir}/state\"\nGateAuditLog \"{dir}/audit.log\"\n{place}",
        private.port
    );
    text
}
