# A guard of speed that does not depend on what else the machine does: how many instructions the
# server's process executes for one echoed message, counted by valgrind. Two runs with different
# numbers of messages are subtracted, so that start, negotiation and end cancel out.
#
#   AUTHOR_TESTING=1 prove -b xt/instructions.t              compares with bench/instructions.txt
#   AUTHOR_TESTING=1 perl -Mblib xt/instructions.t --record  writes that file
#
# The counts depend on perl, compiler and C library: the test is skipped elsewhere than where they
# were recorded.

use strict;
use warnings;

use Config;
use File::Temp qw(tempdir);
use Test::More;

plan skip_all => 'Set AUTHOR_TESTING to count instructions' if !$ENV{AUTHOR_TESTING};

my $RECORD   = 'bench/instructions.txt';
my $MORE     = 1.10;           # more than that fails
my @COUNTS   = (200, 1200);    # messages
my $PATIENCE = 120;            # seconds for one run

# Without Crypt::RSA, as making its keys takes a different time each time.
my @others = ('TLS', map { "Crypt::$_" } qw(RSA RC6 Blowfish DES_EDE3 DES Twofish2 Twofish TEA CipherSaber));
my @CASES = (
    {
        name    => 'plain',
        message => 'x' x 64,
        server  => ['donotencrypt=1'],
    },
    {
        name    => 'structure',
        message => { a => 1, b => [ 1, 2, 3 ] },
        server  => ['donotencrypt=1'],
    },
    {
        name    => 'encrypted',
        message => 'x' x 64,
        server  => ['password=instructions', 'donotencryptwith=Crypt::RSA'],
        client  => { password => 'instructions', donotencryptwith => [ 'TLS', @others ] },
        cipher  => 'Crypt::Rijndael',
    },
    {
        name    => 'tls',
        message => 'x' x 64,
        server  => ['donotencryptwith=Crypt::RSA'],
        cipher  => 'TLS',
    },
);

# Where counts can be compared.
my %here = (
    perl     => $],
    arch     => $Config{archname},
    cc       => first_line("$Config{cc} --version"),
    valgrind => first_line('valgrind --version'),
);
plan skip_all => 'valgrind is not installed' if !$here{valgrind};
my $recording = @ARGV && $ARGV[0] eq '--record';
my $recorded  = $recording ? {} : read_record();
for my $what (qw(perl arch cc valgrind)) {
    last if $recording;
    my $then = defined $recorded->{$what} ? $recorded->{$what} : 'nothing';
    plan skip_all => "Recorded with $what $then, here it is $here{$what}" if $then ne $here{$what};
}

require Net::EasyTCP;
my $directory = tempdir(CLEANUP => 1);
my %counted   = map { $_->{name} => per_message($_) } @CASES;
$recording ? write_record() : compare();
done_testing();

sub first_line {
    my $command = shift;
    my $output  = `$command 2>/dev/null`;
    return defined $output && $output =~ /\A(.+)/ ? $1 : '';
}

sub per_message {
    my $case = shift;
    my ($few, $many) = map { instructions($case, $_) } @COUNTS;
    return sprintf '%.0f', ($many - $few) / ($COUNTS[1] - $COUNTS[0]);
}

# Of a server that echoes so many messages to one client.
sub instructions {
    my ($case, $count) = @_;
    my $log = "$directory/log";
    local @ENV{qw(PERL_HASH_SEED PERL_PERTURB_KEYS)} = (0, 0);
    my @valgrind = ('valgrind', '--tool=callgrind', "--callgrind-out-file=$directory/out");
    my @server   = ($^X, (map { "-I$_" } @INC), 'bench/server.pl', 'leave=1', 'donotcompress=1');
    my $pid = open my $out, '-|', @valgrind, "--log-file=$log", @server, @{ $case->{server} };
    defined $pid or die "Cannot start valgrind: $!\n";
    local $SIG{ALRM} = sub { kill KILL => $pid; die "No end after $PATIENCE seconds\n" };
    alarm $PATIENCE;
    my ($port) = (readline($out) || '') =~ /^READY .* (\d+)$/ or die "The server does not start\n";
    talk($case, $count, $port);
    close $out or die "The server failed: $?\n";
    alarm 0;
    my ($collected) = slurp($log) =~ /Collected\s*:\s*(\d+)/ or die "valgrind counted nothing\n";
    return $collected;
}

sub talk {
    my ($case, $count, $port) = @_;
    my $client = Net::EasyTCP->new(
        mode => 'client',
        host => '127.0.0.1',
        port => $port,
        %{ $case->{client} || {} },
    ) or die "Cannot connect: $@\n";
    my $cipher = $client->encryption || 'none';
    die "The cipher is $cipher\n" if $cipher ne ($case->{cipher} || 'none');
    for (1 .. $count) {
        $client->send($case->{message}) or die "Cannot send: $@\n";
        defined $client->receive or die "Cannot receive: $@\n";
    }
    $client->close;
}

sub compare {
    for my $name (map { $_->{name} } @CASES) {
        my $most = $MORE * ($recorded->{$name} || 0);
        cmp_ok($counted{$name}, '<=', $most, "$name: at most 10 % more instructions than recorded");
        note("$name: $counted{$name}, recorded $recorded->{$name}");
    }
}

sub slurp {
    my $name = shift;
    open my $file, '<', $name or die "Cannot read $name: $!\n";
    local $/ = undef;
    return scalar <$file>;
}

sub read_record {
    plan skip_all => "There is no $RECORD yet: record it with --record" if !-e $RECORD;
    return { slurp($RECORD) =~ /^(\w+) (.+)$/mg };
}

sub write_record {
    open my $file, '>', $RECORD or die "Cannot write $RECORD: $!\n";
    print $file "# Instructions of a server for one echo. xt/instructions.t --record writes this file\n";
    print $file "$_ $here{$_}\n" for qw(perl arch cc valgrind);
    print $file "$_->{name} $counted{ $_->{name} }\n" for @CASES;
    close $file or die "Cannot write $RECORD: $!\n";
    pass("$RECORD was written");
}
