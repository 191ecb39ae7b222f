# The configurations that the pages show are configurations: httpd takes each of them, and the README's does what it says.
use strict;
use warnings;
use Cwd ();
use File::Temp ();
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use MIME::Base64 qw(encode_base64);

my $root = Cwd::abs_path("$FindBin::RealBin/../..");
my %page = map { s{^\Q$root/}{}r => Gate::Httpd::slurp($_) } "$root/README.md", glob "$root/docs/*.md $root/docs/issuers/*.md";
# The blocks of a page, those in lists too.
sub blocks {
    my ($kind, $text) = @_;
    my @found;
    push @found, $2 =~ s/^$1//gmr while $text =~ /^( *)```$kind\n(.*?)^\1```/msg;
    return @found;
}

# The files that the pages name, in one place of the test's own.
my $files = File::Temp->newdir('gate-docs-XXXXXX', TMPDIR => 1);
my $keys  = "$root/tests/support/keys";
system("openssl req -x509 -key $keys/rs1.pem -days 2 -subj /CN=gate -out $files/tls.crt 2>/dev/null") == 0 or die 'openssl';
my ($issuer_port) = issuer_base() =~ /:(\d+)$/;
my %file = (
    'tls.key' => "$keys/rs1.pem", 'login.pem' => "$keys/rs1.pem", 'assertion.pem' => "$keys/es1.pem", 'company-ca.pem' => "$files/tls.crt",
    'gitlab-jwks.json' => \Gate::Client::ask($issuer_port, 'GET', '/ci/jwks')->body, 'audit.key' => \('k' x 40),
    (map { $_ => \"secret\n" } qw(gitlab-token read-api secret api-token)), 'git-basic' => \"Basic eDp5\n");
Gate::Httpd::spew("$files/$_", ref $file{$_} ? ${ $file{$_} } : Gate::Httpd::slurp($file{$_})) for keys %file;
sub here { return $_[0] =~ s{/(?:etc/(?:gitlab-gate|ssl/certs)|var/(?:lib|log/gitlab-gate))/}{$files/}gr }
sub taken { return configtest(here($_[0]), modules => [ 'ssl', 'socache_shmcb' ]) }

# Who a page means that names no issuer.
my $roles   = join "\n", map { "    GateRole $_ a=b" } qw(admin deployer developer member);
my $issuers = <<"CONF";
<GateIssuer okta>
    GateIssuerURL https://example.okta.com/oauth2/default
    GateAudience  https://gate.example.com
$roles
</GateIssuer>
<GateIssuer gitlab-ci>
    GateKind      gitlab
    GateIssuerURL https://gitlab.example.com
    GateAudience  https://gate.example.com
    GateJobAPI    https://gitlab.example.com/api/v4
$roles
</GateIssuer>
CONF

my @readme = blocks('apache', $page{'README.md'});
is(scalar @readme, 2, 'the README shows a configuration for GitLab, and what GitLab needs of a proxy');
for my $name (sort keys %page) {
    my @blocks = blocks('apache', $page{$name});
    ok(@blocks > 0, "$name shows a configuration") if $name =~ /README|issuers/;
    next if !@blocks;
    my $text = join "\n", @blocks;
    $text = "<VirtualHost *:443>\n$text</VirtualHost>\n" if $text !~ /^<VirtualHost/m;
    my ($status, $output) = taken(($text =~ /^<GateIssuer/m ? '' : $issuers) . $text);
    is($status, 0, "$name: httpd takes what it shows") or diag($output);
    unlike($output, qr/GATE2(?!35)/, "$name: without a warning");    # a status for loopback alone is one of the examples
}

# Each example of the reference, in the place that it is for.
my %issuer = (GateIssuerURL => 'GateIssuerURL https://a.example.com', GateAudience => 'GateAudience gate');
my $count = 0;
while ($page{'docs/directives.md'} =~ /^## (Gate\w+)\n(.*?)(?=^## )/msg) {
    my ($name, $entry) = ($1, $2);
    my ($context) = $entry =~ /^- \*\*Context\*\*: (\w+)/m or next;
    my ($example) = $entry =~ /^- \*\*Example\*\*: `(.*)`$/m or next;
    next if $name eq 'GateIntrospection';    # not yet
    my $lines = join "\n", values %{ { %issuer, $context eq 'issuer' ? ($name => $example) : () } };
    my $place = $name =~ /^Gate(?:Target|Idle|Job|MaxOpen)$/ ? 'GatePort db:5432' : 'Location /x';
    my $config = $context eq 'issuer' ? "<GateIssuer okta>\n$lines\n</GateIssuer>\n" : $issuers;
    $config .= "$example\n" if $context eq 'server';
    $config .= "GateAssertionKey file:/etc/gitlab-gate/assertion.pem\n" if $name eq 'GateAssertion';
    $config .= "<$place>\nAuthType Gate\nRequire valid-user\n$example\n</@{[ $place =~ /^(\w+)/ ]}>\n" if $context eq 'section';
    my ($status, $output) = taken($config);
    is($status, 0, "the example of $name is right") or diag("$config\n$output");
    $count++;
}
ok($count >= 38, "$count examples were tried");

# The jobs: YAML takes `- curl -H "Name: value"` for an object, and GitLab refuses that.
for my $name (sort keys %page) {
    for my $job (blocks('yaml', $page{$name})) {
        Gate::Httpd::spew("$files/job.yml", $job);
        my $script = `ruby -ryaml -e 'YAML.load_file(ARGV[0]).each_value { |it| puts it["script"].map(&:class).uniq }' $files/job.yml 2>&1`;
        is($script, "String\n", "$name: a job's script is lines of text");
    }
}

# -- the README's configuration at work; only where GitLab and Okta are is another place here
my $workhorse = httpd("ProxyPass /oauth/discovery/keys @{[ issuer_base() ]}/ci/jwks\nProxyPass / @{[ upstream_base() ]}/ nocanon\n", without_gate => 1);
my $config = join("\n", @readme) =~ s/127\.0\.0\.1:8181/'127.0.0.1:' . $workhorse->port/ger =~ s{https://example\.okta\.com/oauth2/default}{issuer_base() . '/okta'}er;
my ($status) = blocks('apache', $page{'docs/audit.md'});
my $admin = 'GateRole admin groups=gitlab-admins';
my $httpd = httpd($config =~ s/(?=GateRole +developer)/$admin\n/r =~ s/Require  gate-role developer deployer\K/ admin/r . $status);
sub job { return mint(issuer => 'ci', shape => 'gitlab', claims => { iss => 'https://gitlab.example.com', aud => 'https://gate.example.com', @_ }) }
sub person { return mint(issuer => 'okta', shape => 'okta', claims => { aud => 'https://gate.example.com', groups => [@_] }) }

my ($curl) = (blocks('yaml', $page{'README.md'}))[0] =~ /- '(curl .*)'/;
{
    local @ENV{qw(GATE_TOKEN CI_JOB_TOKEN CI_API_V4_URL)} = (job(), 'job-token', 'http://127.0.0.1:' . $httpd->port . '/api/v4');
    my $saw = eval { JSON::decode_json(`$curl 2>/dev/null`) } || {};
    is($saw->{target}, '/api/v4/job', "the README's job gets through");
    my %sent = map { lc $_->[0] => $_->[1] } @{ $saw->{headers} || [] };
    is_deeply([ @sent{qw(x-forwarded-user x-gate-project job-token authorization)} ], [ 'dana', 'shop/orders', 'job-token', undef ],
        "GitLab gets who it is, and the job's own token");
}
refused($httpd->get('/api/v4/job', token => job(project_path => 'mallory/evil', job_project_path => 'mallory/evil')), 403, 'role', "another project's job does not");
refused($httpd->get('/api/v4/job', token => job(ref_protected => 'false')), 403, 'role', 'nor one of an unprotected branch');
passes($httpd->get('/shop%2Forders', token => person('gitlab-devs')), 'a person does');
refused($httpd->get('/x', token => person('others')), 403, 'role', 'one of another group does not');

# -- tokens that httpd takes for too long a header, and the line that helps
my ($line) = $page{'docs/reasons.md'} =~ /^    (LimitRequestFieldSize \d+)$/m;
my $long = mint(issuer => 'okta', shape => 'okta', claims => { aud => 'https://gate.example.com', groups => ['gitlab-devs'], pad => 'x' x 11_000 });
ok(length $long > 15_000 && length $long < 16_384, 'a long token, but not too long: ' . length $long);
is_deeply([ map { $_->status, scalar $_->header('X-Gate-Reason') } $httpd->get('/x', token => $long) ], [ 400, undef ], 'a long token does not reach the gate');
my $wide = httpd("$line\n" . $config =~ s/AuthType Gate\n\K/GateTokenFrom bearer basic\n/r);
passes($wide->get('/x', token => $long), 'it does by the line that the page has');
passes($wide->get('/x', headers => [ Authorization => 'Basic ' . encode_base64("git:$long", '') ]), 'as a password too');

# -- and the status page of docs/audit.md behind it
refused($httpd->get('/-/gate-status?json', token => person('gitlab-devs')), 403, 'role', 'the status is not for developers');
is($httpd->get('/-/gate-status?json', token => person('gitlab-admins'))->status, 200, 'but for whom the page says');

finish();
