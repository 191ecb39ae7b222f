# WARNING: this file is generated, do not edit
# generated on Sun Nov 22 07:21:29 2026
# 01: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestConfig.pm:1007
# 02: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestConfig.pm:1025
# 03: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestConfig.pm:1941
# 04: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestRun.pm:503
# 05: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestRun.pm:713
# 06: /usr/lib/x86_64-linux-gnu/perl5/5.36/Apache/TestRun.pm:713
# 07: /work/hg/tests/t/event/t/TEST:15

package apache_test_config;

sub new {
    bless( {
         'server' => bless( {
                              'port_counter' => 8529,
                              'name' => 'localhost:8529',
                              'run' => bless( {
                                                'opts' => {
                                                            'verbose' => 1,
                                                            'req_args' => {},
                                                            'breakpoint' => [],
                                                            'start-httpd' => 1,
                                                            'stop-httpd' => 1,
                                                            'header' => {},
                                                            'preamble' => [],
                                                            'postamble' => [],
                                                            'run-tests' => 1
                                                          },
                                                'tests' => [
                                                             't/44-gitlab-web.t'
                                                           ],
                                                'argv' => [],
                                                'conf_opts' => {
                                                                 'verbose' => 1,
                                                                 'port' => 'select',
                                                                 'httpd' => '/usr/sbin/apache2',
                                                                 'apxs' => '/usr/bin/apxs',
                                                                 'save' => 1,
                                                                 'httpd_conf' => '/work/hg/tests/t/event/t/modules.conf'
                                                               },
                                                'test_config' => $VAR1,
                                                'server' => $VAR1->{'server'}
                                              }, 'GateRun' ),
                              'rev' => '2',
                              'mpm' => 'event',
                              'revminor' => '4',
                              'config' => $VAR1,
                              'version' => 'Apache/2.4.71'
                            }, 'Apache::TestServer' ),
         'apache_test_version' => '1.43',
         'verbose' => 1,
         'hostport' => 'localhost:8529',
         'vhosts' => {},
         'clean' => {
                      'files' => {
                                   '/work/hg/tests/t/event/t/conf/apache_test_config.pm' => 1,
                                   '/work/hg/tests/t/event/t/conf/httpd.conf' => 1,
                                   '/work/hg/tests/t/event/t/htdocs/index.html' => 1,
                                   '/work/hg/tests/t/event/t/logs/apache_runtime_status.sem' => 1,
                                   '/work/hg/tests/t/event/t/conf/extra.conf' => 1
                                 },
                      'dirs' => {
                                  '/work/hg/tests/t/event/t/logs' => 1,
                                  '/work/hg/tests/t/event/t/state' => 1
                                }
                    },
         'preamble_hooks' => [
                               sub { "DUMMY" }
                             ],
         'APXS' => '/usr/bin/apxs',
         'save' => 1,
         'postamble' => [
                          '<IfModule mod_mime.c>
    TypesConfig "/etc/mime.types"
</IfModule>
',
                          'Include "/work/hg/tests/t/event/t/conf/extra.conf"
',
                          '
'
                        ],
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
    LoadModule gitlab_gate_module "/work/hg/target/test-hooks/mod_gitlab_gate.so"
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
         'httpd_basedir' => '/usr',
         'httpd_defines' => {
                              'HTTPD_ROOT' => '/etc/apache2',
                              'SUEXEC_BIN' => '/usr/lib/apache2/suexec',
                              'DEFAULT_SCOREBOARD' => 'logs/apache_runtime_status',
                              'AP_HAVE_RELIABLE_PIPED_LOGS' => 1,
                              'APR_HAS_SENDFILE' => 1,
                              'AP_TYPES_CONFIG_FILE' => 'mime.types',
                              'APR_HAS_MMAP' => 1,
                              'DEFAULT_ERRORLOG' => 'logs/error_log',
                              'DYNAMIC_MODULE_LIMIT' => '256',
                              'APR_USE_PTHREAD_SERIALIZE' => 1,
                              'APR_USE_PROC_PTHREAD_SERIALIZE' => 1,
                              'APR_HAVE_IPV6 (IPv4-mapped addresses enabled)' => 1,
                              'APR_HAS_OTHER_CHILD' => 1,
                              'DEFAULT_PIDLOG' => '/run/apache2.pid',
                              'SINGLE_LISTEN_UNSERIALIZED_ACCEPT' => 1,
                              'SERVER_CONFIG_FILE' => 'apache2.conf'
                            },
         'vars' => {
                     'access_module_name' => 'mod_authz_host',
                     'apxs' => '/usr/bin/apxs',
                     't_conf_file' => '/work/hg/tests/t/event/t/conf/httpd.conf',
                     'proxyssl_url' => '',
                     'httpd_conf' => '/work/hg/tests/t/event/t/modules.conf',
                     'maxclientsthreadedmpm' => 30,
                     'minclients' => 1,
                     'src_dir' => undef,
                     'user' => 'www-data',
                     'sbindir' => '/usr/sbin',
                     'proxy' => 'off',
                     'limitrequestlinex2' => 256,
                     'sslca' => '/work/hg/tests/t/event/t/conf/ssl/ca',
                     'maxsparethreadedmpm' => 20,
                     'thread_module' => 'worker.c',
                     'sslcaorg' => 'asf',
                     'php_module' => 'sapi_apache2.c',
                     'group' => 'www-data',
                     'cgi_module' => 'mod_cgi.c',
                     'access_module' => 'mod_authz_host.c',
                     'servername' => 'localhost',
                     'limitrequestline' => 128,
                     'httpd' => '/usr/sbin/apache2',
                     'thread_module_name' => 'worker',
                     'maxclients_preset' => 0,
                     'documentroot' => '/work/hg/tests/t/event/t/htdocs',
                     'top_dir' => '/work/hg/tests/t/event',
                     'cgi_module_name' => 'mod_cgi',
                     'remote_addr' => '127.0.0.1',
                     'php_module_name' => 'sapi_apache2',
                     'serveradmin' => 'www-data@localhost',
                     'defines' => '',
                     'minclientsthreadedmpm' => 10,
                     'maxclients' => 3,
                     'sslproto' => 'all',
                     'perlpod' => '/usr/share/perl/5.36/pod',
                     'threadsperchild' => 10,
                     'auth_module' => 'mod_auth.c',
                     'perl' => '/usr/bin/perl',
                     'serverroot' => '/work/hg/tests/t/event/t',
                     't_state' => '/work/hg/tests/t/event/t/state',
                     'auth_module_name' => 'mod_auth',
                     'inherit_documentroot' => '/usr/htdocs',
                     'conf_dir' => '/etc/apache2',
                     't_conf' => '/work/hg/tests/t/event/t/conf',
                     'maxspare' => 2,
                     'target' => 'apache2',
                     'scheme' => 'http',
                     'ssl_module_name' => 'mod_ssl',
                     't_pid_file' => '/work/hg/tests/t/event/t/logs/httpd.pid',
                     't_logs' => '/work/hg/tests/t/event/t/logs',
                     'ssl_module' => 'mod_ssl.c',
                     'startserversthreadedmpm' => 1,
                     'port' => 8529,
                     't_dir' => '/work/hg/tests/t/event/t',
                     'bindir' => '/usr/bin'
                   },
         'postamble_hooks' => [
                                sub { "DUMMY" }
                              ],
         'inherit_config' => {
                               'ServerRoot' => '',
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
                                                   '/work/hg/target/test-hooks/mod_gitlab_gate.so'
                                                 ]
                                               ],
                               'DocumentRoot' => '',
                               'LoadFile' => [],
                               'TypesConfig' => '/etc/mime.types',
                               'ServerAdmin' => ''
                             },
         'mpm' => 'event',
         'cmodules_disabled' => {},
         '_apxs' => {
                      'SYSCONFDIR' => '/etc/apache2',
                      'SBINDIR' => '/usr/sbin',
                      'BINDIR' => '/usr/bin',
                      'TARGET' => 'apache2',
                      'LIBEXECDIR' => '/usr/lib/apache2/modules'
                    },
         'inc' => [],
         'httpd_info' => {
                           'SERVER_MPM' => 'event',
                           'VERSION' => 'Apache/2.4.71 (Debian)',
                           'MODULE_MAGIC_NUMBER_MAJOR' => '20120211',
                           'BUILT' => '2026-11-12T08:58:41',
                           'MODULE_MAGIC_NUMBER' => '20120211:142',
                           'MODULE_MAGIC_NUMBER_MINOR' => '142'
                         },
         'modules' => {
                        'mod_authn_core.c' => '/usr/lib/apache2/modules/mod_authn_core.so',
                        'mod_unixd.c' => 1,
                        'mod_mpm_event.c' => '/usr/lib/apache2/modules/mod_mpm_event.so',
                        'mod_authz_host.c' => '/usr/lib/apache2/modules/mod_authz_host.so',
                        'mod_gitlab_gate.c' => '/work/hg/target/test-hooks/mod_gitlab_gate.so',
                        'mod_logio.c' => 1,
                        'mod_version.c' => 1,
                        'mod_so.c' => 1,
                        'mod_mime.c' => '/usr/lib/apache2/modules/mod_mime.so',
                        'mod_watchdog.c' => 1,
                        'mod_authz_core.c' => '/usr/lib/apache2/modules/mod_authz_core.so',
                        'mod_headers.c' => '/usr/lib/apache2/modules/mod_headers.so',
                        'mod_dir.c' => '/usr/lib/apache2/modules/mod_dir.so',
                        'mod_authz_user.c' => '/usr/lib/apache2/modules/mod_authz_user.so',
                        'mod_proxy.c' => '/usr/lib/apache2/modules/mod_proxy.so',
                        'mod_log_config.c' => 1,
                        'http_core.c' => 1,
                        'mod_unique_id.c' => '/usr/lib/apache2/modules/mod_unique_id.so',
                        'core.c' => 1,
                        'mod_alias.c' => '/usr/lib/apache2/modules/mod_alias.so',
                        'mod_proxy_http.c' => '/usr/lib/apache2/modules/mod_proxy_http.so'
                      }
       }, 'Apache::TestConfig' );
}

1;
