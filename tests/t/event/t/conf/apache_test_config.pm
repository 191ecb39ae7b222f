# WARNING: this file is generated, do not edit
# generated on Sun Nov 22 08:01:21 2026
# 01: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestConfig.pm:1007
# 02: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestConfig.pm:1025
# 03: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestConfig.pm:1941
# 04: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestRun.pm:503
# 05: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestRun.pm:713
# 06: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestRun.pm:713
# 07: /work/ha/tests/t/event/t/TEST:15

package apache_test_config;

sub new {
    bless( {
         'httpd_basedir' => '/usr',
         'preamble_hooks' => [
                               sub { "DUMMY" }
                             ],
         'hostport' => 'localhost:8529',
         'inc' => [],
         'vars' => {
                     'threadsperchild' => 10,
                     'php_module' => 'sapi_apache2.c',
                     'minclientsthreadedmpm' => 10,
                     'auth_module' => 'mod_auth.c',
                     'documentroot' => '/work/ha/tests/t/event/t/htdocs',
                     't_dir' => '/work/ha/tests/t/event/t',
                     'httpd_conf' => '/work/ha/tests/t/event/t/modules.conf',
                     'maxclients' => 3,
                     'cgi_module' => 'mod_cgi.c',
                     'sslca' => '/work/ha/tests/t/event/t/conf/ssl/ca',
                     'sslproto' => 'all',
                     'ssl_module_name' => 'mod_ssl',
                     'limitrequestlinex2' => 256,
                     'maxspare' => 2,
                     'maxclients_preset' => 0,
                     't_state' => '/work/ha/tests/t/event/t/state',
                     'servername' => 'localhost',
                     'perl' => '/usr/bin/perl',
                     'inherit_documentroot' => '/usr/htdocs',
                     'sslcaorg' => 'asf',
                     't_conf' => '/work/ha/tests/t/event/t/conf',
                     'target' => 'apache2',
                     'startserversthreadedmpm' => 1,
                     'access_module' => 'mod_authz_host.c',
                     't_conf_file' => '/work/ha/tests/t/event/t/conf/httpd.conf',
                     'bindir' => '/usr/bin',
                     'access_module_name' => 'mod_authz_host',
                     'scheme' => 'http',
                     'src_dir' => undef,
                     'serveradmin' => 'www-data@localhost',
                     'proxyssl_url' => '',
                     'httpd' => '/usr/sbin/apache2',
                     'maxclientsthreadedmpm' => 30,
                     'proxy' => 'off',
                     'cgi_module_name' => 'mod_cgi',
                     'ssl_module' => 'mod_ssl.c',
                     'perlpod' => '/usr/share/perl/5.36/pod',
                     'thread_module_name' => 'worker',
                     'serverroot' => '/work/ha/tests/t/event/t',
                     'port' => 8529,
                     'maxsparethreadedmpm' => 20,
                     'group' => 'www-data',
                     'thread_module' => 'worker.c',
                     'conf_dir' => '/etc/apache2',
                     'top_dir' => '/work/ha/tests/t/event',
                     'defines' => '',
                     't_logs' => '/work/ha/tests/t/event/t/logs',
                     'user' => 'www-data',
                     'auth_module_name' => 'mod_auth',
                     'sbindir' => '/usr/sbin',
                     'php_module_name' => 'sapi_apache2',
                     'apxs' => '/usr/bin/apxs',
                     'remote_addr' => '127.0.0.1',
                     'minclients' => 1,
                     't_pid_file' => '/work/ha/tests/t/event/t/logs/httpd.pid',
                     'limitrequestline' => 128
                   },
         'APXS' => '/usr/bin/apxs',
         'postamble_hooks' => [
                                sub { "DUMMY" }
                              ],
         'cmodules_disabled' => {},
         'server' => bless( {
                              'mpm' => 'event',
                              'revminor' => '4',
                              'rev' => '2',
                              'config' => $VAR1,
                              'name' => 'localhost:8529',
                              'port_counter' => 8529,
                              'run' => bless( {
                                                'test_config' => $VAR1,
                                                'conf_opts' => {
                                                                 'apxs' => '/usr/bin/apxs',
                                                                 'httpd_conf' => '/work/ha/tests/t/event/t/modules.conf',
                                                                 'save' => 1,
                                                                 'port' => 'select',
                                                                 'httpd' => '/usr/sbin/apache2',
                                                                 'verbose' => 1
                                                               },
                                                'tests' => [
                                                             't/40-upstream-token.t',
                                                             't/42-login.t'
                                                           ],
                                                'argv' => [],
                                                'server' => $VAR1->{'server'},
                                                'opts' => {
                                                            'start-httpd' => 1,
                                                            'run-tests' => 1,
                                                            'header' => {},
                                                            'breakpoint' => [],
                                                            'preamble' => [],
                                                            'req_args' => {},
                                                            'verbose' => 1,
                                                            'postamble' => [],
                                                            'stop-httpd' => 1
                                                          }
                                              }, 'GateRun' ),
                              'version' => 'Apache/2.4.71'
                            }, 'Apache::TestServer' ),
         'save' => 1,
         'postamble' => [
                          '<IfModule mod_mime.c>
    TypesConfig "/etc/mime.types"
</IfModule>
',
                          'Include "/work/ha/tests/t/event/t/conf/extra.conf"
',
                          '
'
                        ],
         'apache_test_version' => '1.43',
         'vhosts' => {},
         'mpm' => 'event',
         'httpd_info' => {
                           'SERVER_MPM' => 'event',
                           'MODULE_MAGIC_NUMBER_MINOR' => '142',
                           'MODULE_MAGIC_NUMBER_MAJOR' => '20120211',
                           'BUILT' => '2026-11-12T08:58:41',
                           'MODULE_MAGIC_NUMBER' => '20120211:142',
                           'VERSION' => 'Apache/2.4.71 (Debian)'
                         },
         'modules' => {
                        'mod_authz_core.c' => '/usr/lib/apache2/modules/mod_authz_core.so',
                        'mod_so.c' => 1,
                        'mod_dir.c' => '/usr/lib/apache2/modules/mod_dir.so',
                        'mod_log_config.c' => 1,
                        'mod_proxy_http.c' => '/usr/lib/apache2/modules/mod_proxy_http.so',
                        'mod_mpm_event.c' => '/usr/lib/apache2/modules/mod_mpm_event.so',
                        'mod_alias.c' => '/usr/lib/apache2/modules/mod_alias.so',
                        'mod_mime.c' => '/usr/lib/apache2/modules/mod_mime.so',
                        'mod_authn_core.c' => '/usr/lib/apache2/modules/mod_authn_core.so',
                        'http_core.c' => 1,
                        'mod_unixd.c' => 1,
                        'mod_watchdog.c' => 1,
                        'mod_version.c' => 1,
                        'mod_authz_host.c' => '/usr/lib/apache2/modules/mod_authz_host.so',
                        'mod_authz_user.c' => '/usr/lib/apache2/modules/mod_authz_user.so',
                        'mod_headers.c' => '/usr/lib/apache2/modules/mod_headers.so',
                        'mod_gitlab_gate.c' => '/work/ha/target/test-hooks/mod_gitlab_gate.so',
                        'mod_logio.c' => 1,
                        'core.c' => 1,
                        'mod_unique_id.c' => '/usr/lib/apache2/modules/mod_unique_id.so',
                        'mod_proxy.c' => '/usr/lib/apache2/modules/mod_proxy.so'
                      },
         'preamble' => [
                         '<IfModule !mod_mpm_event.c>
    LoadModule mpm_event_module "/usr/lib/apache2/modules/mod_mpm_event.so"
</IfModule>
',
                         '<IfModule !mod_authn_core.c>
    LoadModule authn_core_module "/usr/lib/apache2/modules/mod_authn_core.so"
</IfModule>
',
                         '<IfModule !mod_authz_core.c>
    LoadModule authz_core_module "/usr/lib/apache2/modules/mod_authz_core.so"
</IfModule>
',
                         '<IfModule !mod_authz_host.c>
    LoadModule authz_host_module "/usr/lib/apache2/modules/mod_authz_host.so"
</IfModule>
',
                         '<IfModule !mod_authz_user.c>
    LoadModule authz_user_module "/usr/lib/apache2/modules/mod_authz_user.so"
</IfModule>
',
                         '<IfModule !mod_mime.c>
    LoadModule mime_module "/usr/lib/apache2/modules/mod_mime.so"
</IfModule>
',
                         '<IfModule !mod_dir.c>
    LoadModule dir_module "/usr/lib/apache2/modules/mod_dir.so"
</IfModule>
',
                         '<IfModule !mod_alias.c>
    LoadModule alias_module "/usr/lib/apache2/modules/mod_alias.so"
</IfModule>
',
                         '<IfModule !mod_headers.c>
    LoadModule headers_module "/usr/lib/apache2/modules/mod_headers.so"
</IfModule>
',
                         '<IfModule !mod_unique_id.c>
    LoadModule unique_id_module "/usr/lib/apache2/modules/mod_unique_id.so"
</IfModule>
',
                         '<IfModule !mod_proxy.c>
    LoadModule proxy_module "/usr/lib/apache2/modules/mod_proxy.so"
</IfModule>
',
                         '<IfModule !mod_proxy_http.c>
    LoadModule proxy_http_module "/usr/lib/apache2/modules/mod_proxy_http.so"
</IfModule>
',
                         '<IfModule !mod_gitlab_gate.c>
    LoadModule gitlab_gate_module "/work/ha/target/test-hooks/mod_gitlab_gate.so"
</IfModule>
',
                         '<IfModule !mod_mime.c>
    LoadModule mime_module "/usr/lib/apache2/modules/mod_mime.so"
</IfModule>
',
                         '<IfModule !mod_alias.c>
    LoadModule alias_module "/usr/lib/apache2/modules/mod_alias.so"
</IfModule>
',
                         '
'
                       ],
         'httpd_defines' => {
                              'APR_HAS_SENDFILE' => 1,
                              'DEFAULT_SCOREBOARD' => 'logs/apache_runtime_status',
                              'DEFAULT_ERRORLOG' => 'logs/error_log',
                              'SINGLE_LISTEN_UNSERIALIZED_ACCEPT' => 1,
                              'DEFAULT_PIDLOG' => '/run/apache2.pid',
                              'APR_USE_PTHREAD_SERIALIZE' => 1,
                              'DYNAMIC_MODULE_LIMIT' => '256',
                              'SUEXEC_BIN' => '/usr/lib/apache2/suexec',
                              'APR_USE_PROC_PTHREAD_SERIALIZE' => 1,
                              'AP_TYPES_CONFIG_FILE' => 'mime.types',
                              'APR_HAS_OTHER_CHILD' => 1,
                              'APR_HAVE_IPV6 (IPv4-mapped addresses enabled)' => 1,
                              'SERVER_CONFIG_FILE' => 'apache2.conf',
                              'APR_HAS_MMAP' => 1,
                              'HTTPD_ROOT' => '/etc/apache2',
                              'AP_HAVE_RELIABLE_PIPED_LOGS' => 1
                            },
         '_apxs' => {
                      'TARGET' => 'apache2',
                      'LIBEXECDIR' => '/usr/lib/apache2/modules',
                      'SYSCONFDIR' => '/etc/apache2',
                      'BINDIR' => '/usr/bin',
                      'SBINDIR' => '/usr/sbin'
                    },
         'clean' => {
                      'files' => {
                                   '/work/ha/tests/t/event/t/logs/apache_runtime_status.sem' => 1,
                                   '/work/ha/tests/t/event/t/conf/extra.conf' => 1,
                                   '/work/ha/tests/t/event/t/conf/httpd.conf' => 1,
                                   '/work/ha/tests/t/event/t/conf/apache_test_config.pm' => 1,
                                   '/work/ha/tests/t/event/t/htdocs/index.html' => 1
                                 },
                      'dirs' => {
                                  '/work/ha/tests/t/event/t/state' => 1,
                                  '/work/ha/tests/t/event/t/logs' => 1
                                }
                    },
         'inherit_config' => {
                               'TypesConfig' => '/etc/mime.types',
                               'ServerAdmin' => '',
                               'LoadFile' => [],
                               'LoadModule' => [
                                                 [
                                                   'mpm_event_module',
                                                   '/usr/lib/apache2/modules/mod_mpm_event.so'
                                                 ],
                                                 [
                                                   'authn_core_module',
                                                   '/usr/lib/apache2/modules/mod_authn_core.so'
                                                 ],
                                                 [
                                                   'authz_core_module',
                                                   '/usr/lib/apache2/modules/mod_authz_core.so'
                                                 ],
                                                 [
                                                   'authz_host_module',
                                                   '/usr/lib/apache2/modules/mod_authz_host.so'
                                                 ],
                                                 [
                                                   'authz_user_module',
                                                   '/usr/lib/apache2/modules/mod_authz_user.so'
                                                 ],
                                                 [
                                                   'mime_module',
                                                   '/usr/lib/apache2/modules/mod_mime.so'
                                                 ],
                                                 [
                                                   'dir_module',
                                                   '/usr/lib/apache2/modules/mod_dir.so'
                                                 ],
                                                 [
                                                   'alias_module',
                                                   '/usr/lib/apache2/modules/mod_alias.so'
                                                 ],
                                                 [
                                                   'headers_module',
                                                   '/usr/lib/apache2/modules/mod_headers.so'
                                                 ],
                                                 [
                                                   'unique_id_module',
                                                   '/usr/lib/apache2/modules/mod_unique_id.so'
                                                 ],
                                                 [
                                                   'proxy_module',
                                                   '/usr/lib/apache2/modules/mod_proxy.so'
                                                 ],
                                                 [
                                                   'proxy_http_module',
                                                   '/usr/lib/apache2/modules/mod_proxy_http.so'
                                                 ],
                                                 [
                                                   'gitlab_gate_module',
                                                   '/work/ha/target/test-hooks/mod_gitlab_gate.so'
                                                 ]
                                               ],
                               'ServerRoot' => '',
                               'DocumentRoot' => ''
                             },
         'verbose' => 1
       }, 'Apache::TestConfig' );
}

1;
