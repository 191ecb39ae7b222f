# The audit log is rotated by logrotate with the file of docs/examples: no line is lost, the chain goes on, and gatectl
# reads what gzip made. What is no chain, or sealed by another key, is told from a changed line. Padding hides nothing.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Gatectl;
use File::Temp ();

my $root = "$FindBin::RealBin/../..";
my $dir  = File::Temp->newdir;
chmod 0755, "$dir";
sub spew { my ($name, $text) = @_; open my $out, '>', "$dir/$name" or die $!; print {$out} $text; close $out or die $!; return "$dir/$name" }
my $key = spew('key', 'k' x 43 . "\n");
sub verify { return gatectl(undef, qw(audit verify --key), $key, @_) }

my $issuers = issuer_section('okta', 'GateRole developer groups=devs');
my $token   = mint(issuer => 'okta', claims => { sub => 'ana', groups => ['devs'] });
mkdir "$dir/log" or die $!;
my $log   = "$dir/log/audit.log";
my $httpd = httpd("GateAuditLog $log\nGateAuditChainKey file:$key\n$issuers" . gated('/', 'Require gate-role developer'), log_level => 'notice');

# --- rotation ---------------------------------------------------------------------------------------------------------

my $shipped = Gate::Httpd::slurp("$root/docs/examples/logrotate-gitlab-gate");
my $pid     = $httpd->dir . '/httpd.pid';
my $rotate  = $shipped =~ s{/var/log/gitlab-gate/audit\.log \{}{$log \{}r =~ s{systemctl reload apache2}{kill -USR1 \$(cat $pid)}r;
isnt($rotate, $shipped, 'the file is of the shape that this test knows');
my $conf = spew('rotate.conf', "su root root\n" . $rotate =~ s/root adm/root root/r);
chmod 0644, $conf;
my $count = 0;
for my $turn (1 .. 3) {
    passes($httpd->get("/turn/$turn/$_", token => $token), "a request before rotation $turn") for 1 .. 3;
    $count += 3;
    Gate::Audit::wait_for($log, 3, sub { ($_[0]{url}{path} // '') =~ m{^/turn/$turn/} }, 8);
    is(system("logrotate -f -s $dir/state $conf > $dir/logrotate.out 2>&1"), 0, "logrotate runs ($turn)") or diag(Gate::Httpd::slurp("$dir/logrotate.out"));
    ok(Gate::Audit::wait_for($log, 1, sub { $_[0]{event}{action} eq 'gate-start' }, 10), 'and httpd writes to the new file');
}
passes($httpd->get('/last', token => $token), 'a request after them');
$httpd->stop;
my @files = grep { !/chain$/ } glob "$log*";
is(scalar(grep { /\.gz$/ } @files), 2, 'older files are compressed') or diag("@files");
ok(-e "$log.1", 'the last rotated one is not, since old children may write to it');
for my $order (\@files, [ reverse @files ]) {
    my ($status, $text) = verify(@$order);
    is($status, 0, 'the chain goes on over all of them, in any order') or diag($text);
}
my ($row) = grep { $_->{person} eq 'ana' } @{ JSON->new->utf8->decode(scalar `$gatectl audit report --format json @{[ join ' ', map { quotemeta } @files ]}`) };
is($row->{count}, $count + 1, 'the access review reads them all');

# By its content, not by its name.
my ($gz) = grep { /\.3\.gz$/ } @files;
system("cp $gz $dir/renamed.log") == 0 or die;
is((verify(map { $_ eq $gz ? "$dir/renamed.log" : $_ } @files))[0], 0, 'a compressed file of another name is read too');
my ($status, $text) = verify(grep { $_ ne $gz } @files);
is($status, 1, 'a file that is missing is found');
like($text, qr/before it lines number 1 to \d+ were removed/, 'and named');
my $packed = Gate::Httpd::slurp($gz);
($status, $text) = verify(spew('cut.gz', substr $packed, 0, length($packed) - 12));
is($status, 2, 'a compressed file that was cut is damaged');
like($text, qr{\Q$dir\E/cut\.gz}, 'and named');

# --- what is not a changed line ---------------------------------------------------------------------------------------

my @lines = Gate::Audit::raw("$log.1");
my ($after) = map { m/"sequence":(\d+)/ ? $1 - 1 : () } $lines[0];
my $whole = spew('whole.log', scalar `zcat $gz`);
my @whole = Gate::Audit::raw($whole);
my $access = spew('access.log', qq(127.0.0.1 - - [01/Dec/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 5\n));
my $plain = spew('plain.log', join '', map { s/,"sequence":\d+,"hash":"\w+"//r . "\n" } @whole);
for my $case (
    [ 'another key',              qr/whole\.log line 1: the first line does not fit: another key, or not the log of this gate/, spew('other', 'x' x 40), $whole ],
    [ 'a log without a chain',    qr/plain\.log line 1: this line carries no seal/, $key, $plain ],
    [ 'an access log',            qr/access\.log: this is no audit log/,            $key, $access ],
    [ 'an access log among others', qr/access\.log: this is no audit log/,          $key, $whole, $access ],
    [ 'a binary file',            qr/binary: this is no audit log/,                 $key, spew('binary', "\0\1\2\n\3") ],
    [ 'a changed first line',     qr/first\.log line 1: this line was changed/,     $key, spew('first.log', join "\n", $whole[0] =~ s/gate/gato/r, @whole[ 1 .. $#whole ]) ],
    [ 'a line without a seal',    qr/added\.log line 4: this line carries no seal/, $key, spew('added.log', join "\n", @whole[ 0 .. 2 ], '{"event":{}}') ],
) {
    my ($name, $what, $with, @of) = @$case;
    my ($status, $text) = gatectl(undef, qw(audit verify --key), $with, @of);
    is($status, 1, "$name ends with 1");
    like($text, $what, 'and is named');
}

# --- padding ----------------------------------------------------------------------------------------------------------

my $padded = httpd($issuers . gated('/', 'Require gate-role developer'));
my $zeros  = '0' x 2100;
refused($padded->get("/api/v4/projects/${zeros}42/secret"), 401, 'token_missing', 'a padded path');
refused($padded->get('/agent', headers => [ 'User-Agent' => "curl/1 ${zeros}evil" ]), 401, 'token_missing', 'a padded User-Agent');
passes($padded->get('/sub', token => mint(issuer => 'okta', claims => { sub => "ana${zeros}end", groups => ['devs'] })), 'a padded claim');
my @seen = sort { $a->{'@timestamp'} cmp $b->{'@timestamp'} } Gate::Audit::decisions($padded->dir . '/audit.log', 3);    # each child writes its own lines
like($seen[0]{url}{path},             qr{^/api/v4/projects/0+…0+42/secret$}, 'the path keeps its head and its tail');
like($seen[1]{user_agent}{original},  qr{^curl/1 0+…0+evil$},                'so does the User-Agent');
like($seen[2]{user}{id},              qr{^ana0+…0+end$},                     'and the claim');

expect_in_log(qr/AH00493|AH00489|AH00094/);
finish();
