# How the gate is, over all children; what would become of a request; a place where nothing is refused.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Gatectl;
use Time::HiRes qw(sleep);

my $issuers = issuer_section('okta', "GateRole dev groups=devs\nGateRole admin groups=admins acr=mfa");
$issuers .= issuer_section('made', 'GateRequire environment=export') . issuer_section('cloud', 'GateKind entra', 'GateRequire groups=devs') . issuer_section('ci', 'GateKind gitlab');
my $dev     = mint(issuer => 'okta', claims => { sub => 'ana', groups => ['devs'] });
my $admin   = mint(issuer => 'okta', claims => { sub => 'root', groups => ['admins'], acr => 'mfa' });
my $expired = mint(issuer => 'okta', claims => { sub => 'ana', groups => ['devs'], exp => time - 3600 });

my $config = "GateAuditLog \@DIR\@/audit.log\nSetEnvIf Request_URI ^/env/ seen\nSetEnvIf Request_URI ^/explain asked\nSetEnvIf Remote_Addr ^127 here\n" . $issuers . join '',
    gated('/', 'Require gate-role dev'),
    gated('/env/', "SetEnvIf Request_Method ^PUT\$ put", '<RequireAll>', 'Require gate-role dev', (map { "Require env $_" } qw(seen put here)), q(Require expr "%{THE_REQUEST} == 'PUT /env/x?a HTTP/1.1'"), '<RequireNone>', 'Require env asked', '</RequireNone>', '</RequireAll>'),
    gated('/admin/', 'Require gate-role admin'),
    gated('/net/', '<RequireAll>', 'Require gate-role dev', 'Require ip 192.0.2.0/24', '</RequireAll>'),
    gated('/watch/', 'GateMode observe', 'Require gate-role admin'),
    gated('/made/', 'GateAccept made', 'Require valid-user'), gated('/cloud/', 'GateAccept cloud', 'Require valid-user'),
    "<Location /open-status>\nAuthType None\nRequire all granted\nSetHandler gate-status\n</Location>\n<Location /open-explain>\nAuthType None\nRequire all granted\nSetHandler gate-explain\n</Location>\n<Location /status>\nSetHandler gate-status\nRequire gate-role admin\n</Location>\n<Location /explain>\nSetHandler gate-explain\nRequire gate-role admin\n</Location>\n";
my $httpd = httpd($config);
my $log   = $httpd->dir . '/audit.log';

# --- nothing is refused ---------------------------------------------------------------------------------------------

my $answer = $httpd->get('/watch/x', token => $admin);
passes($answer, 'who fulfils the rule passes');
is($answer->sent('X-Forwarded-User'), 'root', 'as who it is');
passes($answer = $httpd->get('/watch/x', token => $dev), 'a wrong role passes too');
is($answer->sent('X-Forwarded-User'), 'ana', 'as who it is');
passes($answer = $httpd->get('/watch/x', token => $expired, headers => [ 'X-Forwarded-User' => 'root' ]), 'an expired token passes');
is($answer->sent('X-Forwarded-User'), undef, 'as nobody');
like($answer->sent('Authorization') // '', qr/^Bearer ey/, 'and stays in the request');
passes($httpd->get('/watch/x'), 'no token passes');
# each child writes its own lines: in the order of the requests they are by their time
my @lines = sort { $a->{'@timestamp'} cmp $b->{'@timestamp'} } Gate::Audit::decisions($log, 4);
is_deeply([ map { $_->{event}{reason} } @lines ], [ undef, 'role', 'expired', 'token_missing' ], 'what would have been refused is written down');
is_deeply([ map { $_->{event}{outcome} } @lines ], [qw(success failure failure failure)], 'as refused');
is_deeply([ map { $_->{gitlab_gate}{mode} } @lines ], [qw(enforce observe observe observe)], 'in observation');
is_deeply([ map { $_->{http}{response}{status_code} } @lines ], [ (200) x 4 ], 'and served');
ok($httpd->wait_for_log(qr/GATE403: would have been refused: expired/), 'the error log says so too');
like($httpd->error_log, qr/GATE202: GateMode observe/, 'and the start warned');

# --- status ------------------------------------------------------------------------------------------------------------

is($httpd->get('/open-status?metrics')->status, 200, 'where nobody has to show who they are, loopback sees the status');
for my $header ('X-Forwarded-For', 'Forwarded', 'Via') {
    for my $path ('/open-status?json', '/open-explain?method=GET&path=/x') {
        refused($httpd->get($path, headers => [ $header => '127.0.0.1' ]), 403, 'loopback_only', "not through a proxy ($header, $path)");
    }
}
is($httpd->get('/status?metrics', token => $admin, headers => [ 'X-Forwarded-For' => '192.0.2.1' ])->status, 200, 'but who showed who they are, sees it');
like($httpd->error_log, qr/GATE235: SetHandler gate-explain in \/open-explain/, 'and the start warned');
expect_in_log(qr/GATE235/);
refused($httpd->get('/status'), 401, 'token_missing', 'the status is protected');
refused($httpd->get('/status', token => $dev), 403, 'role', 'as any Location');
passes($httpd->get('/x', token => $dev), 'something passes');
refused($httpd->get('/x', token => $expired), 401, 'expired', 'something is refused');
sleep 0.2;
my $metrics = $httpd->get('/status?metrics', token => $admin);
is($metrics->status, 200, 'a SetHandler wins over the ProxyPass around it');
like($metrics->header('Content-Type'), qr{^text/plain; version=0\.0\.4}, 'in Prometheus\' format');
like($metrics->body, qr/^gitlab_gate_decisions_total\{outcome="failure",reason="expired",issuer="okta"\} 1$/m, 'a refusal is counted with its issuer');
like($metrics->body, qr/^gitlab_gate_decisions_total\{outcome="failure",reason="token_missing",issuer=""\} 1$/m, 'one without');
like($metrics->body, qr/^gitlab_gate_decisions_total\{outcome="observed",reason="role",issuer="okta"\} 1$/m, 'an observed one');
like($metrics->body, qr/^gitlab_gate_keys_age_seconds\{issuer="okta"\} \d+$/m, 'the age of keys');
like($metrics->body, qr/^gitlab_gate_key_fetches_total\{issuer="okta",result="ok"\} 1$/m, 'one fetch for all children');
like($metrics->body, qr/^gitlab_gate_cache_entries [1-9]\d*$/m, 'kept tokens');
like($metrics->body, qr/^gitlab_gate_$_ \d+$/m, $_) for qw(cache_hits_total cache_misses_total audit_lost_total);
like($metrics->body, qr/^# TYPE gitlab_gate_$_ (?:gauge|counter)$/m, $_) for qw(ports_open upstream_token_age_seconds);
$httpd->restart('USR1');
my $later = $httpd->get('/status?metrics', token => $admin);
like($later->body, qr/reason="expired",issuer="okta"\} 1$/m, 'counters outlive a restart');
my $json = JSON->new->utf8->decode($httpd->get('/status?json', token => $admin)->body);
ok((grep { $_->{name} eq 'okta' } @{ $json->{issuers} }), 'as JSON');
is(scalar @{ $json->{minutes} }, 60, 'with the last hour');
my $page = $httpd->get('/status', token => $admin);
like($page->header('Content-Type'), qr{^text/html}, 'a page');
like($page->body, qr{<code>expired</code>.*>1<}s, 'with each reason and its count');
if ($ENV{GATE_KEEP_PAGE}) { open my $out, '>', $ENV{GATE_KEEP_PAGE} or die; print {$out} $page->body; close $out }

# Whoever a proxy speaks for is not on loopback, be its word gone from the request or never in its headers.
{
    my $open = join '', map { "<Location /$_>\nAuthType None\nRequire all granted\nSetHandler gate-$_\n</Location>\n" } qw(status explain);
    for my $name (qw(X-Forwarded-For X-Real-IP)) {
        my $behind = httpd("RemoteIPHeader $name\nRemoteIPInternalProxy 127.0.0.1\n$open", modules => ['remoteip']);
        for my $path ('/status?json', '/explain?method=GET&path=/x') {
            refused($behind->get($path, headers => [ $name => '192.0.2.1' ]), 403, 'loopback_only', "mod_remoteip took $name away ($path)");
        }
        is($behind->get('/status?json')->status, 200, 'and without it loopback is loopback');
        expect_in_log(qr/GATE235/);
    }
    my $behind = httpd("RemoteIPProxyProtocol On\n$open", modules => ['remoteip']);
    for my $from ('192.0.2.1', '127.0.0.1') {
        my $answer = $behind->raw("PROXY TCP4 $from 127.0.0.1 4711 80\r\nGET /status?json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        if ($from eq '127.0.0.1') { is($answer->status, 200, 'the PROXY protocol names a client on loopback') }
        else                      { refused($answer, 403, 'loopback_only', 'or one that is elsewhere') }
    }
    expect_in_log(qr/GATE235/);
}

# --- explanation ---------------------------------------------------------------------------------------------------------

sub asked_about {
    my ($token, $path, %more) = @_;
    my $query = join '&', "path=$path", map { "$_=$more{$_}" } sort keys %more;
    my $answer = $httpd->ask('POST', "/explain?$query", token => $admin, body => $token);
    return $answer->status == 200 ? JSON->new->utf8->decode($answer->body) : die $answer->as_string;
}
is($httpd->ask('POST', '/explain?path=/x', token => $admin, body => 'x' x 32768)->status, 200, 'a long text is judged');
is($httpd->ask('POST', '/explain?path=/x', token => $admin, body => 'x' x 32769)->status, 413, 'and a longer one is not cut');
my $breaking_off = Gate::Client::connect_to($httpd->port);
print {$breaking_off} "POST /explain?path=/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $admin\r\nContent-Length: 9\r\n\r\nhalf";
shutdown $breaking_off, 1;
is(Gate::Client::raw($httpd->port, '', socket => $breaking_off)->status, 400, 'nor is one that breaks off taken for what came of it');
refused($httpd->ask('POST', '/explain?path=/x', token => $dev, body => $dev), 403, 'role', 'an explanation is protected');
sleep 0.3;
my $before = scalar grep { $_->{event}{action} eq 'access' } Gate::Audit::lines($log);
my $it = asked_about($dev, '/x');
is_deeply([ @{$it}{qw(granted place user reason)} ], [ JSON::true, '/', 'ana', undef ], 'a grant is explained');
like($it->{forward}, qr{^http://.*/x$}, 'with where it would be forwarded to');
is((map { $_->{value} } grep { $_->{name} eq 'X-Forwarded-User' } @{ $it->{upstream} })[0], 'ana', 'and what the upstream would get');
is_deeply([ map { "$_->{role} " . ($_->{granted} ? 1 : 0) } @{ $it->{roles} } ], [ 'dev 1', 'admin 0' ], 'each role');
like($it->{roles}[1]{conditions}[0]{detail}, qr/wanted ="admins"/, 'with the condition that missed it');
is(scalar(grep { $_->{result} ne 'passed' } @{ $it->{token}{checks} }), 0, 'each check');
$it = asked_about($expired, '/x');
is_deeply([ @{$it}{qw(granted status reason)} ], [ JSON::false, 401, 'expired' ], 'a bad token is explained');
is_deeply([ map { $_->{result} } grep { $_->{check} =~ /^(?:signature|exp|audience)$/ } @{ $it->{token}{checks} } ], [ 'passed', 'failed', 'not reached' ], 'up to the check that failed');
for my $case (
    [ 'required', 'required_claim',  '/made/x',  issuer => 'made',  claims => { environment => 'import' } ],
    [ 'exp',      'required_claim',  '/made/x',  issuer => 'made',  claims => { environment => 'export', exp => undef } ],
    [ 'iat',      'claim_type',      '/made/x',  issuer => 'made',  claims => { environment => 'export', iat => 'now' } ],
    [ 'audience', 'claim_type',      '/made/x',  issuer => 'made',  claims => { environment => 'export', aud => 7 } ],
    [ 'required', 'groups_overage',  '/cloud/x', issuer => 'cloud', claims => { hasgroups => JSON::true } ],
    [ 'type',     'required_claim',  '/x',       issuer => 'ci' ],
) {
    my ($check, $reason, $path, @mint) = @$case;
    my $it = asked_about(mint(@mint), $path);
    is($it->{reason}, $reason, "$reason of $check") or diag(JSON::encode_json($it));
    my @results = map { $_->{result} } @{ $it->{token}{checks} };
    is_deeply([ map { $_->{check} } grep { $_->{result} eq 'failed' } @{ $it->{token}{checks} } ], [$check], 'that check failed');
    like("@results", qr/^(?:passed )+failed(?: not reached)*$/, 'those before it were passed, the others not reached');
}
$it = asked_about($dev, '/admin/x');
is_deeply([ @{$it}{qw(status reason place)} ], [ 403, 'role', '/admin/' ], 'a rule is explained');
ok(!$it->{rules}[0]{holds}, 'the rule that failed');
is(asked_about($dev, '/net/')->{status}, 403, 'another address');
is(asked_about($dev, '/net/', peer => '192.0.2.7')->{status}, 200, 'and the right one');
is(asked_about('garbage', '/x')->{reason}, 'token_malformed', 'garbage');
is(asked_about('', '/x')->{reason}, 'token_missing', 'no token: not that of who asks');
is(asked_about($dev, '/watch/')->{observed}, JSON::true, 'observation');
sleep 0.2;
my @asked = grep { $_->{event}{action} eq 'access' } Gate::Audit::lines($log);
is(scalar(grep { $_->{url}{path} ne '/explain' } @asked[ $before .. $#asked ]), 0, 'what is only asked is not written down');

# the environment and the request's line are those of the request that is asked about
for my $case ([ 'as the request has it', 'PUT', '/env/x?a' ], [ 'the wrong method', 'POST', '/env/x?a' ], [ 'another line', 'PUT', '/env/x?b' ]) {
    my ($name, $method, $path) = @$case;
    is(asked_about($dev, $path, method => $method)->{status}, $httpd->ask($method, $path, token => $dev)->status, "SetEnvIf, THE_REQUEST: $name");
}
is(asked_about($dev, '/env/x?a', method => 'PUT')->{status}, 200, 'a grant among them');
is(asked_about($dev, '/env/x?a', method => 'PUT', peer => '192.0.2.7')->{status}, 403, 'and not from elsewhere');

# --- gatectl -----------------------------------------------------------------------------------------------------------------

my @explain = ('explain', '--config', $httpd->dir . '/httpd.conf', '--method', 'GET', '--httpd', $ENV{GATE_HTTPD} || '/usr/sbin/apache2');
my ($status, $out) = gatectl($dev, @explain, '--path', '/x');
is($status, 0, 'gatectl explain: granted') or diag($out);
like($out, qr/X-Forwarded-User: ana/, 'with what the upstream would get');
($status, $out) = gatectl($dev, @explain, '--path', '/admin/x');
is($status, 1, 'refused');
like($out, qr/refused: 403 role/, 'naming the code');
is((gatectl($dev, @explain))[0], 2, 'wrong usage');
($status, $out) = gatectl($dev, 'token', '--issuer', issuer_base() . '/okta', '--audience', 'gate');
is($status, 0, 'gatectl token: valid') or diag($out);
is((gatectl($expired, 'token', '--issuer', issuer_base() . '/okta'))[0], 1, 'expired');
($status, $out) = gatectl($dev, 'token', '--issuer', issuer_base() . '/okta', '--audience', 'other');
is($status, 1, 'another audience');
like($out, qr/refused: audience/, 'naming the code');
is((gatectl($dev, 'token', '--nonsense', 'x'))[0], 2, 'wrong usage');

is(join("\n", grep { length } map { Gate::Audit::wrong($_) } Gate::Audit::lines($log)), '', 'every line is as the schema wants it');
expect_in_log(qr/GATE20[24]/, qr{AH01630: .*/(?:net|watch|env)/});
finish();
