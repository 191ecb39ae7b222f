# The job of docs/ports.md, run by gitlab-ci-local as GitLab would: its ID token opens a port over TLS, and psql talks to a
# PostgreSQL through it. gitlab-ci-local makes no tokens: the test issuer's come in as variables.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Gatectl;
use Gate::Port;
use Gate::Postgres;
use File::Temp ();

my $runner = "$FindBin::RealBin/../.cache/ci/node_modules/gitlab-ci-local/dist/index.js";
my $dir = File::Temp->newdir('gate-ci-XXXXXX', TMPDIR => 1);
my $sql = Gate::Postgres::start($dir);
plan skip_all => 'with gitlab-ci-local (apxs/test installs it), Node.js 22 and PostgreSQL only' if !$sql || !-e $runner || !$ENV{GATE_NODE};

my $tls = Gate::Httpd::free_port();
my $local = Gate::Httpd::free_port();
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null") == 0 or die 'openssl';
my $gitlab = gitlab();
my $httpd = httpd(<<"END", modules => [ 'ssl', 'socache_shmcb' ]);
@{[ issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders ref_protected=true', "GateJobAPI $gitlab/api/v4 every=1s") ]}
Listen 127.0.0.1:$tls
<VirtualHost 127.0.0.1:$tls>
    SSLEngine on
    SSLCertificateFile $dir/cert.pem
    SSLCertificateKeyFile $dir/key.pem
    Protocols http/1.1
    <GatePort orders-db:5432>
        GateTarget $sql
        AuthType   Gate
        GateAccept ci
        Require    gate-role deployer
        GateJob    on
    </GatePort>
</VirtualHost>
END

# The page's own text, but for where things are here.
my ($yaml) = Gate::Httpd::slurp("$FindBin::RealBin/../../docs/ports.md") =~ /^(    migrate:\n(?:    .*\n|\n)+)/m or die 'the page has no job';
$yaml =~ s/^    //mg;
my $changes = $yaml =~ s{https://gate\.example\.com:8443}{https://localhost:$tls --ca-file $dir/cert.pem}r =~ s{gatectl port}{$gatectl port}r =~ s{\b5432 *$}{$local}mr =~ s{-p 5432}{-p $local}r;
my $repo = "$dir/orders";
mkdir $repo;
Gate::Httpd::spew("$repo/.gitlab-ci.yml", $changes);
Gate::Httpd::spew("$repo/migrate.sql", "create table orders (id int);\ninsert into orders select generate_series(1, 12345);\n\\echo migrated: :SERVER_VERSION_NUM\nselect 'orders ' || count(*) from orders;\n");
system("cd $repo && git init -q -b main && git remote add origin git\@gitlab.example.com:shop/orders.git && git add -A && git -c user.name=t -c user.email=t\@example.com commit -qm job") == 0 or die 'git';

sub job {
    my ($token, $job_token) = @_;
    local $ENV{HOME} = "$dir";
    open my $out, '-|', "cd $repo && timeout 120 $ENV{GATE_NODE} $runner --force-shell-executor --variable GATE_TOKEN=$token --variable CI_JOB_TOKEN=$job_token migrate 2>&1" or die;
    my $said = do { local $/; <$out> };
    close $out;
    return ($? >> 8, $said);
}
my %claims = (job_id => '4711', project_path => 'shop/orders', ref_protected => 'true');
gitlab_job(id => 4711, project => 20, status => 'running', token => 'glcbt-4711');

my ($status, $said) = job(mint(issuer => 'ci', shape => 'gitlab', claims => {%claims}), 'glcbt-4711');
is($status, 0, 'the job succeeds') or diag($said);
like($said, qr/orders 12345/, 'psql has talked to the database through the port');
like($httpd->error_log, qr/GATE701: port orders-db:5432 opened: .* job=4711/, 'the gate has opened it for that job');
ok($httpd->wait_for_log(qr/GATE702: port orders-db:5432 closed: (?:client|target) source\.bytes=[1-9]\d* destination\.bytes=[1-9]\d*.*job=4711/), 'and closed it with the job');

($status, $said) = job(mint(issuer => 'ci', shape => 'gitlab', claims => { %claims, ref_protected => 'false' }), 'glcbt-4711');
isnt($status, 0, 'on an unprotected branch the job fails');
like($said, qr/the gate refused orders-db:5432: 403 role/, 'and says why');
gitlab_job(id => 4711, project => 20, status => 'success', token => 'glcbt-4711');
($status, $said) = job(mint(issuer => 'ci', shape => 'gitlab', claims => {%claims}), 'glcbt-4711');
isnt($status, 0, 'with what an ended job has left behind, too');
like($said, qr/403 job_ended/, 'and says why');

expect_in_log(qr/GATE401: refused: (?:role|job_ended): /, qr/AH01906|AH01909|AH02292|AH01882|AH01873|AH01630/);
finish();
