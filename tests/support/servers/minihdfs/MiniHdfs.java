import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;

/**
 * Two namenodes, of which one is active, and two datanodes, on free ports, in the folder of the
 * first argument. Says where they are, then takes commands by the line, and says "done" to each.
 * Ends with its standard input.
 */
public class MiniHdfs {
  public static void main(String[] arguments) throws Exception {
    Configuration conf = new Configuration();
    conf.setLong("dfs.namenode.fs-limits.min-block-size", 4096);
    // Blobs of several blocks, folders of several pages.
    conf.setLong("dfs.blocksize", 4 << 20);
    conf.setInt("dfs.ls.limit", 100);
    MiniDFSCluster cluster =
        new MiniDFSCluster.Builder(conf, new File(arguments[0]))
            .nnTopology(MiniDFSNNTopology.simpleHATopology())
            .numDataNodes(2)
            .build();
    cluster.waitActive();
    cluster.transitionToActive(0);
    cluster.waitActive(0);
    for (int index = 0; index < 2; index++) {
      System.out.println("namenode " + cluster.getNameNode(index).getHttpAddress().getPort());
    }
    System.out.println("user " + System.getProperty("user.name"));
    System.out.println("ready");
    MiniDFSCluster.DataNodeProperties stopped = null;
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
    for (String line = commands.readLine(); line != null; line = commands.readLine()) {
      if (line.startsWith("active ")) {
        int index = Integer.parseInt(line.substring(7));
        cluster.transitionToStandby(1 - index);
        cluster.transitionToActive(index);
      } else if (line.equals("standby")) {
        cluster.transitionToStandby(0);
        cluster.transitionToStandby(1);
      } else if (line.equals("safe on") || line.equals("safe off")) {
        for (int index = 0; index < 2; index++) {
          if (cluster.getNameNode(index).isActiveState()) {
            cluster.getNameNodeRpc(index)
                .setSafeMode(
                    line.equals("safe on")
                        ? org.apache.hadoop.hdfs.protocol.HdfsConstants.SafeModeAction.SAFEMODE_ENTER
                        : org.apache.hadoop.hdfs.protocol.HdfsConstants.SafeModeAction.SAFEMODE_LEAVE,
                    false);
          }
        }
      } else if (line.equals("datanode down")) {
        stopped = cluster.stopDataNode(0);
      } else if (line.equals("datanode up")) {
        cluster.restartDataNode(stopped, true);
        cluster.waitActive();
      }
      System.out.println("done");
    }
    cluster.shutdown();
    System.exit(0);
  }
}
